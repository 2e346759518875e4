"""Parses are read back from their files, and what is damaged is left out by name."""

import json

import pytest

from avvp_jax.metrics.events import VIDEO_FILTERS, Decision
from avvp_jax.metrics.windows import predicted
from avvp_jax.reports.pages import parse_page
from avvp_jax.reports.pages.parse_page import ParsePage
from avvp_jax.reports.parses import write_parse
from avvp_jax.reports.stored_parses import stored_parses
from tests.reports.pages.parsed import a_parse, videos_in_page, write


def test_a_folder_is_read_back_and_what_is_damaged_is_named(tmp_path, capsys):
    own = (0.25, ((0.45,) * 6, (0.3, 0.4, 0.5, 0.6, 0.7, 0.35)))
    write_parse(str(tmp_path), a_parse("own", video_filter="mixed", thresholds=own))
    kinds = [
        ("one", "global"),
        ("two", "per_modality"),
        ("three", "per_modality"),
        ("four", "global"),
    ]
    for at, (name, kind) in enumerate(kinds):
        write_parse(str(tmp_path), a_parse(name, seed=at, video_filter=kind, zero_shot=at == 1))
    one = json.loads((tmp_path / "one.json").read_text())
    older = json.loads((tmp_path / "three.json").read_text())
    del older["video_filter"]
    (tmp_path / "three.json").write_text(json.dumps(older))
    for name, content in {
        "odd": json.dumps({**one, "video": "odd", "thresholds": {"segment": 0.5}}).encode(),
        "none": b"", "list": b"[]", "deep": b"[" * 10**5, "lacks": b"{}", "utf": b"\xff",
        "else": (tmp_path / "one.json").read_bytes(),
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_bytes(content)
        (tmp_path / f"{name}.npz").write_bytes((tmp_path / "one.npz").read_bytes())
    (tmp_path / "four.npz").write_bytes(b"no archive")
    (tmp_path / "mine.json").write_text("no parse")
    found, problems = stored_parses(tmp_path)
    assert [x.file_name for x in found] == ["one", "own", "three", "two.zero_shot"]
    assert found[1].decision == Decision("mixed", *own)
    assert found[2].video_filter == "per_modality" and found[3].zero_shot
    assert [x.label for x in found[0].events] == [x.label for x in a_parse("one").events]
    damaged = ["deep", "else", "four", "lacks", "list", "none", "odd", "utf"]
    assert [line.split(".")[0] for line in problems] == damaged
    write(tmp_path, a_parse("five"))
    err = capsys.readouterr().err
    assert err.startswith("warning: ") and err.count("\n") == 1 and "four.json" in err
    text = (tmp_path / "report.html").read_text()
    assert "8 of the videos in this folder are not shown" in text and '"five"' in text
    assert text.index('"name":"five"') < text.index('"name":"one"')


@pytest.mark.parametrize("kind", VIDEO_FILTERS)
def test_a_parse_of_every_filter_is_read_back(tmp_path, kind):
    parse = a_parse("one", video_filter=kind)
    write_parse(str(tmp_path), parse)
    (found,), problems = stored_parses(tmp_path)
    assert found.video_filter == kind and problems == []
    again = predicted(found.probs, found.video_filter)
    assert (again == parse.segments).all() and found.events == parse.events


@pytest.mark.parametrize("number", ["1" + 400 * "0", "1e400", "NaN", "-1", "1e7", "true", '"1"'])
@pytest.mark.parametrize("key", ["duration", "start"])
def test_a_time_that_is_none_is_damage(tmp_path, key, number):
    """An integer of JSON may be too large for a float."""
    write_parse(str(tmp_path), a_parse("one"))
    stored = json.loads((tmp_path / "one.json").read_text())
    (stored if key == "duration" else stored["windows"][0])[key] = "HERE"
    (tmp_path / "one.json").write_text(json.dumps(stored).replace('"HERE"', number))
    found, problems = stored_parses(tmp_path)
    assert found == [] and problems[0].startswith("one.json: is not as --mode=parse writes it")


def test_what_another_command_parses_in_the_folder_is_on_the_page(tmp_path, capsys):
    """Videos may be shared out among commands; of these the last one writes the page."""
    page = ParsePage(str(tmp_path))
    page.add(a_parse("one"))
    write_parse(str(tmp_path), a_parse("other"))
    page.write()
    assert videos_in_page(tmp_path) == ["one", "other"]
    write_parse(str(tmp_path), a_parse("last"))
    (tmp_path / "other.json").write_text("overwritten, but it is known")
    (tmp_path / "bad.json").write_text("damaged")
    (tmp_path / "bad.npz").write_text("damaged")
    for _ in range(2):
        page.write()
    assert videos_in_page(tmp_path) == ["one", "other", "last"]
    assert capsys.readouterr().err.count("bad.json") == 1


def test_whatever_is_in_a_folder_ends_no_parse(tmp_path, monkeypatch, capsys):
    def failing(*args):
        raise IndexError("out of\nrange")

    monkeypatch.setattr(parse_page, "stored_parses", failing)
    write(tmp_path, a_parse("one"))
    assert videos_in_page(tmp_path) == ["one"]
    assert capsys.readouterr().err.endswith("parsed before (IndexError: out of range)\n")
