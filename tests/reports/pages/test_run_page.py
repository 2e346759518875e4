"""The page of a run, of made-up scores of many kinds."""

import dataclasses
import json
import re

import numpy as np
import pytest

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.metrics.video_scores import video_scores, whole_probabilities
from avvp_jax.reports.class_tables import ClassTable
from avvp_jax.reports.pages.run_page import About, write_run_page
from avvp_jax.reports.pages.run_scores import numbers_of
from avvp_jax.reports.pages.run_videos import files_in, largest_gains
from avvp_jax.reports.published_scores import Published
from avvp_jax.reports.results import Scored
from avvp_jax.streams import data_spec
from avvp_jax.task import MODALITIES, Task

HOSTILE = ("<b>&amp;</b>", '"><img src=x>', "\u202eright \u05e9\u05dc", "x" * 90)
HOSTILE += (" \t\n", "</script>")


def made_up(name="test", videos=30, classes=6, segments=10, *, dense=None, short=False, seeds=1):
    """Scores of a model on a made-up split; names are hostile."""
    rng = np.random.default_rng(videos + classes)
    labels = (*HOSTILE, *(f"class {i}" for i in range(classes)))[:classes]
    spec = data_spec("base", Task("made up", labels, segments, 1))
    dense = videos if dense is None else dense
    lengths = rng.integers(1, segments + 1, videos) if short else np.full(videos, segments)
    there = (np.arange(segments) < lengths[:, None])[..., None, None]
    shape = (videos, segments, 2, classes)
    truth = ((rng.random(shape) < 2 / (classes + 2)) & there).astype(np.uint8)
    names = [f"{HOSTILE[row % 6]}{row}_{row}_{row + 10}" for row in range(videos)]
    split = Split(
        name=name,
        ids=names,
        filenames=names,
        spec=spec,
        features=ResidentFeatures({}),
        weak_label=truth.any(axis=(1, 2)).astype(np.float32),
        truth=truth if dense else None,
        dense=np.arange(videos) < dense if 0 < dense < videos else None,
        lengths=lengths if short else None,
        annotated=videos,
    )
    frame = np.clip(0.6 * truth + 0.6 * rng.random(shape) * there, 0, 1).astype(np.float32)
    probs = {"frame_prob": frame, "global_prob": frame.max(axis=(1, 2))}
    probs |= {f"{m}_prob": frame[:, :, i].max(axis=1) for i, m in enumerate(MODALITIES)}
    said = predicted_segments(probs, "per_modality")
    rows = split.dense_rows
    one = {} if split.truth is None else scores(said[rows], truth[rows] > 0)
    one |= video_scores(whole_probabilities(probs), split.weak_label)
    results = [{n: x - s for n, x in one.items()} | {"seed": s, "epoch": 2} for s in range(seeds)]
    return Scored(split, results, probs, said, 2)


def about(workdir, scored, **more):
    more = {"weights": str(workdir), "picked": 0, "seeds": scored.results} | more
    return About(str(workdir), "method", "train", "some data", **more)


def epoch_line(epoch, loss, prefix=""):
    numbers = {"train/loss": loss, "train/seconds": 1.5, "val/segment/type": 10.0 * epoch}
    return json.dumps({"step": epoch} | {prefix + name: x for name, x in numbers.items()})


@pytest.fixture
def workdir(tmp_path):
    """A work directory with damaged lines, repeated epochs and tables, one of them no table."""
    lines = ['{"hparams": {}}', epoch_line(1, 3), epoch_line(2, 99), '{"step": 2, "train/lo', "[]"]
    lines += [epoch_line(2, 2.125), epoch_line(3, float("nan")), '{"step": true}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    (tmp_path / "ratios").mkdir()
    table = ClassTable("noise <ratio>", "A caption.", HOSTILE, {"audio": [0.25] * 6}, ".3f")
    table.write(str(tmp_path / "ratios/noise_ratios.table.json"))
    (tmp_path / "ratios/bad.table.json").write_text('{"title": 3}')
    return tmp_path


def test_a_page_opens_sorts_searches_and_draws(browser, workdir):
    scored = made_up()
    published = Published("Paper", tuple(range(10, 20)), "a paper")
    path = workdir / "report.html"
    facts = about(workdir, scored, published=published, notes=["a note"], config={"a.b": "<c>"})
    write_run_page(str(path), facts, [made_up("val"), scored])
    browser.open(path)
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.endswith("report.html")] == []
    for width in (360, 800, 1400):
        browser.resize(width)
        assert browser.overflow() == 0
    text = browser.run("return document.body.textContent")
    assert "2.125" in text and "99" not in re.findall(r"\d+", browser.find("#curves").text)
    assert "noise <ratio>" in text and "0.250" in text and "a note" in text
    browser.run("document.querySelector('#classes th:nth-child(2) button').click()")
    cells = browser.run(
        "return [...document.querySelectorAll('#classes tbody')].map((body) =>"
        " [...body.rows].map((row) => Number(row.cells[1].dataset.value)))"
    )
    assert cells[0] == sorted(cells[0], reverse=True)
    browser.run("document.querySelector('.clip').scrollIntoView()")
    rows = "return document.querySelectorAll('.clip .strips [role=listitem]').length"
    browser.wait(lambda: browser.run(rows), "timelines")
    box = browser.find("#video-search")
    titles = browser.run(
        "return [...document.querySelectorAll('.clip h3')].map((x) => x.innerText)"
    )
    box.send_keys(next(title for title in titles if title.startswith(HOSTILE[0])))
    shown = browser.run("return [...document.querySelectorAll('.clip:not([hidden])')].length")
    assert 0 < shown < 50 and browser.find("#video-count").text.startswith(f"{shown} of ")
    assert not browser.find_all("img")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_can_be_used_by_everyone(browser, workdir, theme):
    scored = made_up(videos=8, seeds=2)
    write_run_page(str(workdir / "report.html"), about(workdir, scored), [scored])
    browser.open(workdir / "report.html", theme=theme)
    browser.run("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert browser.violations() == []


@pytest.mark.parametrize(
    "kind",
    [
        {"classes": 1, "videos": 1},
        {"classes": 40, "videos": 20},
        {"segments": 60, "short": True},
        {"dense": 0},
        {"dense": 7, "short": True},
        {"seeds": 3},
    ],
    ids=str,
)
def test_every_kind_of_data_has_a_page(workdir, kind):
    scored = made_up(**kind)
    write_run_page(str(workdir / "report.html"), about(workdir, scored), [scored])
    text = (workdir / "report.html").read_text()
    assert ("What is mistaken for what" in text) == (kind.get("dense") != 0)
    assert ("missed or wrong" in text) == (kind.get("dense") == 0)
    assert ("mean over the seeds" in text) == ("seeds" in kind)


def test_seeds_that_diverged_and_two_parts_are_said(workdir):
    scored = made_up(seeds=3)
    scored.results[1]["diverged"] = True
    scored.results[2]["epoch"] = {"audio": 1, "visual": 2}
    kept = [scored.results[0], scored.results[2]]
    mean = np.mean([result["segment/type"] for result in kept])
    assert numbers_of(scored)["segment/type"]["value"] == pytest.approx(mean)
    del scored.probs["global_prob"]
    write_run_page(str(workdir / "report.html"), about(workdir, scored), [scored])
    text = (workdir / "report.html").read_text()
    assert "diverged" in text and "audio 1, visual 2" in text and "kept: epoch 1, 2" in text


def test_published_weights_have_a_page_of_what_is_known(tmp_path):
    scored = made_up()
    scored.results[0].update(seed=None, epoch=None)
    facts = about(tmp_path, scored, weights="HAN.pt", picked=None)
    write_run_page(str(tmp_path / "report.html"), facts, [scored])
    text = (tmp_path / "report.html").read_text()
    assert "published weights" in text and "How it learnt" not in text
    assert "not recorded" in text


def test_intervals_hold_the_scores():
    numbers = numbers_of(made_up(videos=60))
    assert set(NAMES) < set(numbers)
    for name in NAMES:
        one = numbers[name]
        assert 0 <= one["low"] < one["value"] < one["high"] <= 100


@pytest.mark.parametrize(
    "diverged, over", [((), "over the seeds"), ((1,), "over videos"), ((0, 1), "over the seeds")]
)
def test_captions_say_what_intervals_are_of(tmp_path, diverged, over):
    """Where one seed of several is left, its intervals are over videos; segments may be short."""
    scored = made_up(seeds=2)
    for seed in diverged:
        scored.results[seed]["diverged"] = True
    path = tmp_path / "report.html"
    write_run_page(str(path), about(tmp_path, scored), [scored])
    text = path.read_text()
    said = {"over the seeds", "over videos"}
    assert {x for x in said if f"intervals {x}" in text or f"of the mean {x}" in text} == {over}
    assert "is in segments of" not in text
    short = dataclasses.replace(scored.split.spec.task, seconds=0.96)
    short = dataclasses.replace(scored.split, spec=data_spec("base", short))
    write_run_page(str(path), about(tmp_path, scored), [scored._replace(split=short)])
    assert "is in segments of 0.96 s" in path.read_text()


def test_the_largest_gains_come_first():
    scored = [made_up("val", 40), made_up("test", 45)]
    found = largest_gains(scored)
    assert len(found) == 50
    order = [judged.gain[place] for _, judged, place in found]
    assert order == sorted(order, reverse=True)
    every = np.concatenate([judged.gain for judged in {id(j): j for _, j, _ in found}.values()])
    assert order == pytest.approx(sorted(every, reverse=True)[:50])


@pytest.mark.parametrize("ending,start", [("_7_17.mp4", 0), (".mp4", 7)])
def test_players_take_the_file_of_the_clip_or_of_the_video(browser, tmp_path, ending, start):
    from tests.media.clips import CLIPS  # here, because it needs PyAV

    (tmp_path / "videos #1").mkdir()
    name = "some % video"
    clip = CLIPS / "short.mp4"
    (tmp_path / f"videos #1/{name}{ending}").write_bytes(clip.read_bytes())
    scored = made_up(videos=1)
    split = dataclasses.replace(scored.split, ids=["other"], filenames=[f"{name}_7_17"])
    scored = scored._replace(split=split)
    path = tmp_path / "report.html"
    facts = about(tmp_path, scored, videos=str(tmp_path / "videos #1"))
    for embed in (False, True):
        write_run_page(str(path), dataclasses.replace(facts, embed=embed), [scored])
        browser.open(path)
        browser.run("document.querySelector('.clip').scrollIntoView()")
        length = "return document.querySelector('video')?.duration || 0"
        browser.wait(lambda: browser.run(length) > 0, "a video")  # noqa: B023
        assert browser.find("video").get_attribute("aria-label") == f"{name}_7_17"
    assert len(files_in(str(tmp_path / "videos #1"))) == 1 and files_in("nowhere") == {}


def test_a_large_run_makes_a_small_page(tmp_path):
    scored = [made_up(n, count, 25) for n, count in (("val", 649), ("test", 1200))]
    write_run_page(str(tmp_path / "report.html"), about(tmp_path, scored[1]), scored)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
