"""The page of parsed videos: its events are Python's, and it does what it says."""

import dataclasses
import json
import os
import pathlib
import urllib.parse

import numpy as np
import pytest

from avvp_jax.metrics.events import VIDEO_FILTERS
from avvp_jax.reports.pages import media, parse_page
from avvp_jax.reports.parses import label_track, subtitles, write_parse
from avvp_jax.task import LLP
from tests.browser import WIDTHS
from tests.media.clips import make, plain, tone
from tests.reports.pages.parsed import (
    TASK,
    a_parse,
    at_threshold,
    choose,
    keys,
    press,
    press_twice,
    put,
    ready,
    videos_in_page,
    write,
)

NAME = "street #1 50%? \u05d0 \u201equoted\u201c 'it\"s' \u00fc"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Eight seconds that every browser plays, in a folder beside that of the page."""
    place = tmp_path_factory.mktemp("videos #%") / f"{NAME}.mp4"
    pictures = [plain((40 * (at // 8), 60, 120), (64, 96)) for at in range(64)]
    return make(place, pictures, 8, codec="libx264", sound=tone(8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, video):
    """A page of three videos: one that plays, one of hostile names that is gone, a long one."""
    place = tmp_path_factory.mktemp("W") / "parses"
    place.mkdir()
    facts = {"path": video, "model": {"method": "made up", "seed": 3, "weights": "/W"}}
    names = ["</script><img src=x>", "hour"]
    hour = dataclasses.replace(TASK, classes=tuple(f"class {k}" for k in range(40)))
    write(
        place,
        a_parse(NAME, 8, facts=facts, remarks=["no sound in the last 0.1 s"]),
        a_parse(names[0], seed=1, facts={"path": "/gone/x.avi"}, zero_shot=True),
        a_parse(names[1], 3600, hour, seed=2),
    )
    return place


TASKS = [
    (dataclasses.replace(TASK, seconds=seconds), segments, duration)
    for seconds, segments, duration in (
        (1, 10, 10),
        (0.96, 31, 29.3),
        (2.5, 7, 15.013),
        (0.1, 9, 2),
    )
]


def test_events_are_those_of_python_at_every_threshold(browser, tmp_path):
    """And so are the texts that one can take away."""
    parses = [
        a_parse(f"{kind} {at}", segments, task, at, video_filter=kind, duration=duration)
        for kinds in (VIDEO_FILTERS, VIDEO_FILTERS[::-1])
        for at, (kind, (task, segments, duration)) in enumerate(zip(kinds, TASKS, strict=True))
    ]
    parses[0] = dataclasses.replace(parses[0], zero_shot=True, name='"quoted"')
    ready(browser, write(tmp_path, *parses))
    steps = list(range(1, 100))
    found = browser.run(
        """const { videos, textsOf } = globalThis.parsed;
        return videos.map((video) => arguments[0].map((step) => {
          const events = video.events(step * 100);
          const rows = events.map((x) => [x.modality, x.label, x.onset, x.offset, x.mean, x.peak]);
          return [rows, textsOf(video, events, step * 100)];
        }));""",
        steps,
    )
    for parse, of_video in zip(parses, found, strict=True):
        for step, (events, texts) in zip(steps, of_video, strict=True):
            expected = at_threshold(parse, step / 100)
            rows = [(x.modality, x.label, x.onset, x.offset) for x in expected.events]
            assert [tuple(event[:4]) for event in events] == rows, (parse.name, step)
            numbers = [(x.mean, x.peak) for x in expected.events]
            np.testing.assert_allclose(
                [event[4:] for event in events] or np.zeros((0, 2)),
                np.reshape(numbers, (-1, 2)),
                atol=1.01e-4,
            )
            assert texts["vtt"][1] == "".join(f"{line}\n" for line in subtitles(expected))
            assert texts["labels.txt"][1] == "".join(f"{x}\n" for x in label_track(expected))


def test_a_page_opens_without_errors_and_asks_for_the_video_alone(browser, folder, video):
    ready(browser, folder / "report.html")
    assert browser.console() == []
    fetched = [urllib.parse.unquote(url) for url in browser.requests()]
    assert {os.path.basename(url) for url in fetched} <= {"report.html", os.path.basename(video)}
    assert not browser.find_all("img") and browser.run("return document.title") != "run"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_fits_every_screen_and_can_be_used_by_all(browser, folder, theme):
    ready(browser, folder / "report.html", theme=theme)
    for width in WIDTHS:
        browser.resize(width)
        assert browser.overflow() == 0, width
    assert browser.violations() == []


def test_names_are_shown_as_they_are(browser, folder):
    ready(browser, folder / "report.html")
    titles = browser.run(
        "return [...document.querySelectorAll('#videos .title')].map((x) => x.textContent)"
    )
    assert titles == [NAME, "</script><img src=x> (zero-shot)", "hour"]
    rows = browser.run(
        "return [...document.querySelectorAll('#timeline .name')].map((x) => x.textContent)"
    )
    shown = {"Speech", "<b>Dog</b> & 'cat'", "tab and line", "(a blank name)"}
    assert shown <= set(rows) and len(rows) == 5


def test_the_player_plays_and_the_cursor_follows(browser, folder):
    ready(browser, folder / "report.html")
    browser.wait(lambda: browser.run("return !parsed.player.silent"), "metadata of the video")
    where = "return document.querySelector('.cursor').getBoundingClientRect().left"
    first = browser.run(where)
    # So slowly that it does not end before anybody looks.
    browser.run("parsed.player.element.playbackRate = 0.1")
    keys(browser, " ")
    browser.wait(lambda: browser.run("return parsed.player.element.currentTime") > 0.1, "playing")
    assert browser.find("#play").text == "Pause"
    press(browser, browser.find("#play"))
    assert browser.run("return parsed.player.element.paused")
    moment, axis = browser.run(
        "return [parsed.player.element.currentTime, parsed.timeline.axis.clientWidth]"
    )
    browser.wait(lambda: abs(browser.run(where) - first - axis * moment / 8) < 2, "the cursor")


def now(browser):
    return browser.run("return parsed.player.time")


def test_keys_and_clicks_go_where_they_say_without_a_video_too(browser, folder):
    ready(browser, folder / "report.html")
    choose(browser, 1)
    browser.wait(lambda: "cannot play" in browser.find("#unplayable").text, "the sentence")
    for pressed, shift, expected in [
        ("ArrowRight", False, 1), ("ArrowRight", False, 2), ("ArrowLeft", False, 1),
        ("End", False, 10), ("ArrowLeft", False, 9), ("Home", False, 0), ("ArrowRight", True, 10),
        ("ArrowLeft", True, 0),
    ]:  # fmt: skip
        keys(browser, pressed, shift=shift)
        assert now(browser) == expected
    keys(browser, "ArrowRight", " ", target="document.getElementById('search')")
    keys(browser, "End", target="document.getElementById('threshold')")
    keys(browser, " ", target="document.getElementById('back')")
    assert now(browser) == 0 and not browser.run("return parsed.player.playing")
    before, after = press_twice(browser, " ")
    assert before <= now(browser) <= after and now(browser) == now(browser)
    last = browser.find_all("#events .go")[-1]
    press(browser, last)
    onset = browser.run("return Math.max(...parsed.timeline.events.map((x) => x.onset))")
    assert now(browser) == onset


def test_the_threshold_moves_bars_table_and_list(browser, folder):
    ready(browser, folder / "report.html")
    for value in (0.01, 0.77, 0.99):
        put(browser, "threshold", value)
        expected = at_threshold(a_parse(NAME, 8), value).events
        assert len(browser.find_all("#events tbody tr")) == len(expected)
        assert len(browser.find_all("#timeline .row")) == len({x.label for x in expected})
        assert browser.find("#threshold").get_attribute("aria-valuetext").startswith(f"{value:.2f}")
        heard = sum(x.modality == "audio" for x in expected)
        said = f"8 s · {heard} heard, {len(expected) - heard} seen"
        browser.wait(lambda s=said: browser.find("#videos .told").text == s, said)
    assert browser.find("#threshold-number").text == "0.99"
    press(browser, browser.find("#reset"))
    assert browser.find("#threshold-number").text == "0.50"
    assert len(browser.find_all("#events tbody tr")) == len(a_parse(NAME, 8).events)


def test_the_list_is_searched_by_name_class_and_modality(browser, folder):
    ready(browser, folder / "report.html")
    titles = lambda: [x.text for x in browser.find_all("#videos .title")]  # noqa: E731
    browser.find("#search").send_keys("IMG")
    assert titles() == ["</script><img src=x> (zero-shot)"]
    put(browser, "search", "")
    keys(browser, "End", target="document.getElementById('videos')")
    assert browser.find("#title").text == "hour"
    put(browser, "of-class", "Speech")
    put(browser, "of-modality", "visual")
    shown = [
        parse.title
        for parse in (a_parse(NAME, 8), a_parse("</script><img src=x>", seed=1, zero_shot=True))
        if any((x.label, x.modality) == ("Speech", "visual") for x in parse.events)
    ]
    assert titles() == shown and browser.find("#matches").text == f"{len(shown)} of 3 videos"


def test_what_is_shown_can_be_taken_away(browser, folder):
    ready(browser, folder / "report.html")
    put(browser, "threshold", "0.3")
    parse, found = at_threshold(a_parse(NAME, 8), 0.3), {}
    safe = "street #1 50%_ \u05d0 \u201equoted\u201c 'it_s' \u00fc"
    for button in browser.find_all("[data-ending]"):
        ending = button.get_attribute("data-ending")
        press(browser, button)
        found[ending] = browser.downloaded(f"{safe}.{ending}")
    assert found["vtt"].splitlines() == subtitles(parse)
    rows = found["csv"].splitlines()
    assert rows[0] == "filename\tonset\toffset\tevent_labels\tmodality"
    assert '"street #1 50%? \u05d0 \u201equoted\u201c \'it""s\' \u00fc"' in rows[1]
    record = json.loads(found["json"])
    assert record["threshold"] == 0.3 and record["video"] == NAME
    events = [(x["modality"], x["class"], x["onset"], x["offset"]) for x in record["events"]]
    assert events == [(x.modality, x.label, x.onset, x.offset) for x in parse.events]


def test_a_video_that_is_parsed_again_replaces_what_was_there(tmp_path):
    write_parse(str(tmp_path), a_parse("one"))
    write(tmp_path, a_parse("one", seed=1))
    assert videos_in_page(tmp_path) == ["one"]


def test_what_cannot_be_written_is_only_warned_of(tmp_path, capsys):
    (tmp_path / "report.html").mkdir()
    write(tmp_path, a_parse())
    assert "report.html: cannot be written" in capsys.readouterr().err


def test_a_page_that_would_be_too_large_leaves_earlier_videos_out_first(tmp_path, monkeypatch):
    size = len(parse_page._show(a_parse()).content)
    monkeypatch.setattr(parse_page, "LARGEST", 3 * size)
    for name in "abcd":
        write_parse(str(tmp_path), a_parse(name))
    text = write(tmp_path, a_parse("e"), a_parse("f")).read_text()
    assert videos_in_page(tmp_path) == ["e", "f", "a"]
    assert "3 of the videos in this folder are not shown" in text


def test_1200_videos_make_a_page_of_few_megabytes(tmp_path):
    parses = [a_parse(f"video {at:04d}", 10, LLP, at) for at in range(1200)]
    assert write(tmp_path, *parses).stat().st_size < 5e6


def test_sound_without_a_picture_is_played(browser, tmp_path):
    sound = make(tmp_path / "x.wav", [], sound=tone(3), sound_codec="pcm_s16le")
    remark = "no picture: nothing is seen in it, only heard"
    ready(browser, write(tmp_path, a_parse("x", 3, facts={"path": sound}, remarks=[remark])))
    browser.wait(lambda: browser.run("return !parsed.player.silent"), "the sound")
    assert browser.find("#unplayable").text == "" and browser.find("video.sound").is_displayed()
    assert browser.find("#remarks").text == remark.capitalize()
    keys(browser, "End")
    browser.wait(lambda: now(browser) == pytest.approx(3, abs=0.1), "the end")


def test_short_videos_become_part_of_the_page(browser, tmp_path, video, monkeypatch):
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(pathlib.Path(video).read_bytes())
    parses = [
        a_parse("short", 8, facts={"path": str(moved)}),
        a_parse("long", 61, facts={"path": str(moved)}),
        a_parse("gone", 8, facts={"path": "/gone.mp4"}),
        a_parse("short", 8, facts={"path": str(moved)}, zero_shot=True),
    ]
    page = write(tmp_path, *parses, embed=True)
    moved.unlink()
    ready(browser, page)
    browser.wait(lambda: browser.run("return !parsed.player.silent"), "the embedded video")
    assert browser.run("return parsed.player.element.currentSrc").startswith("blob:")
    note = browser.find("main > .note").text
    assert note.startswith("2 of 4 videos are part") and "long (longer than 60 s), gone (" in note
    monkeypatch.setattr(media, "MOST", 10)
    embedded = media.Embedded()
    assert embedded.add("x", video, 8) is None and "may hold" in embedded.linked[0][1]
