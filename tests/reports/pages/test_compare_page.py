"""The page of a comparison: its numbers in Python, and itself in a browser."""

import dataclasses
import json
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.metrics.video_scores import whole_probabilities
from avvp_jax.modes.comparison import run
from avvp_jax.nn.layers import Arithmetic
from avvp_jax.nn.pooling import MMIL
from avvp_jax.reports.pages import differences
from avvp_jax.reports.pages.compare_page import short_names, verdict
from avvp_jax.reports.parsed_files import read_parsed
from tests.browser import WIDTHS
from tests.reports.pages.made_up_runs import CLASSES, VIDEOS, a_split, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four of the same data: the third is of one seed, the last has no parsed file."""
    root, split = tmp_path_factory.mktemp("runs") / "<b>&amp;", a_split()
    return [
        write_run(root / "first" / "W", split, 0.3),
        write_run(root / "second" / "W", split, 0.1),
        write_run(root / ("long " * 30), split, 0.2, seeds=1, method="ma"),
        write_run(root / "old", split, 0.2, parsed=False),
    ]


@pytest.fixture(scope="module")
def a_page(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "compared.html"
    run(runs, str(path))
    return path


# ---- in a browser


def test_it_opens_without_errors_and_is_accessible(browser, a_page):
    browser.open(a_page)
    browser.wait(lambda: browser.find_all(".dots svg"), "the dots")
    for each in browser.find_all("details"):
        browser.run("arguments[0].open = true", each)
    browser.wait(lambda: len(browser.find_all(".timelines svg")) == 30, "timelines")
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.endswith("compared.html")] == []
    for width in WIDTHS:
        browser.resize(width)
        assert browser.overflow() <= 0
    browser.open(a_page)
    assert browser.violations() == []
    browser.prefer("dark")
    assert browser.violations() == []


def test_it_says_what_was_computed(browser, a_page, runs):
    browser.open(a_page, 1400)
    browser.wait(lambda: browser.find_all(".dots svg"), "the dots")
    text = browser.find("main").text
    assert "D: has no parsed_test.npz" in text and "run --mode=eval there again" in text
    names = browser.run(
        "return [...document.querySelectorAll('.sides h3 bdi')].map(x => x.textContent)"
    )
    assert names == ["first/W", "second/W", pathlib.Path(runs[2]).name, "old"]
    record = json.loads((pathlib.Path(runs[0]) / "scores_test.json").read_text())
    mean = np.mean([ten["segment/type"] for ten in record["seeds"]])
    row = browser.run(
        "return [...document.querySelectorAll('#scores ~ div tbody tr')].map(x => x.textContent)"
    )
    assert f"{mean:.1f}" in next(x for x in row if "Segments: Type" in x)
    lanes = browser.find_all(".dots .lane:not(.paper)")
    assert len(lanes) == 4 * 16  # ten scores, and six of whole videos
    # One of one seed has no interval.
    assert browser.run("return document.querySelectorAll('.side-2 .interval').length") == 0
    assert browser.run("return document.querySelectorAll('.side-0 .interval').length") == 16
    assert "cannot be tested with one seed" in text and "B is better than A on" in text
    shown = browser.run(
        "return [...document.querySelectorAll('.videos .name')].map(x => x.textContent)"
    )
    assert len(shown) == 30 and len(set(shown)) == 30


def test_classes_are_sorted_by_difference_and_the_reference_can_be_chosen(browser, a_page, runs):
    browser.open(a_page)
    models = [read_parsed(folder, "test") for folder in runs[:3]]
    rows = differences.class_rows(models)
    gains = "return [...document.querySelectorAll('.bars .gain')].map(x => x.textContent)"
    for other, reference in ((1, 0), (2, 1)):
        for select, place in (("other", other), ("reference", reference)):
            browser.run(
                "const x = document.getElementById(arguments[0]); x.value = arguments[1];"
                "x.dispatchEvent(new Event('change'))",
                select,
                place,
            )
        found = [float(x.replace("\u2212", "-")) for x in browser.run(gains)]
        wanted = [row.scores[other] - row.scores[reference] for row in rows]
        assert sorted(found) == pytest.approx(sorted(wanted), abs=0.051)
        assert [abs(x) for x in found] == sorted((abs(x) for x in found), reverse=True)
    names = browser.run(
        "return [...document.querySelectorAll('.bars bdi')].map(x => x.textContent)"
    )
    assert set(names) == set(CLASSES) and browser.run("return document.title")[:4] == "A fi"


def test_timelines_show_what_each_says(browser, a_page, runs):
    browser.open(a_page)
    first = browser.find("details[data-video]")
    browser.run("document.querySelector('details[data-video] summary').click()")
    browser.wait(lambda: browser.find_all(".timelines svg"), "the timeline")
    models = [read_parsed(folder, "test") for folder in runs[:3]]
    video = differences.most_different(differences.scores_by_video(models))[0]
    said = browser.run(
        "return [...arguments[0].querySelectorAll('[role=listitem]')].map(x => x.ariaLabel)", first
    )
    wanted = differences.timelines(models, "ABC", video)["rows"]
    assert len(said) == len(wanted) > 0
    assert "heard: annotated" in " ".join(said) and "seen: C" in " ".join(said)


def open_pair(browser, tmp_path, *folders):
    run(list(folders), str(tmp_path / "page.html"))
    browser.open(tmp_path / "page.html", 360)
    browser.wait(lambda: browser.find_all(".dots svg"), "the dots")
    assert browser.console() == [] and browser.overflow() <= 0
    return browser.find("main").text


def test_without_dense_labels_whole_videos_are_compared(browser, tmp_path):
    split = a_split(dense=0)
    one, two = (write_run(tmp_path / name, split, x) for name, x in (("a", 0.3), ("b", 0.1)))
    text = open_pair(browser, tmp_path, one, two)
    assert "how many labels of a video are missed or found wrongly" in text
    assert "found " in text and "Segments and events" not in text
    assert browser.find_all(".bars li") and "in the video" in browser.find(".bars").text
    assert "Whole videos, in percent" in text  # average precision is among them


def test_the_same_one_twice_and_other_data(browser, tmp_path, runs):
    other = write_run(tmp_path / "other", a_split(dense=10), 0.2)
    text = open_pair(browser, tmp_path, runs[0], runs[0], other)
    assert "A and B are equally good on every video" in text
    assert "C: scored on other data" in text and "because their data differ: C" in text
    text = open_pair(browser, tmp_path, runs[0], other)
    assert "Nothing to show" in text and not browser.find_all(".bars li")


def test_ten_are_shown(browser, tmp_path):
    split = a_split()
    folders = [write_run(tmp_path / str(i), split, 0.05 * i + 0.05, seeds=2) for i in range(10)]
    open_pair(browser, tmp_path, *folders)
    assert len({each.get_attribute("href") for each in browser.find_all(".sides use")}) == 10
    with pytest.raises(UserError, match="at most 10 work directories, and 11"):
        run([*folders, folders[0]], str(tmp_path / "page.html"))


# ---- in Python


def test_short_names_tell_paths_apart():
    assert short_names(["/x/han/W", "/x/ma/W/", "/y"]) == ["han/W", "ma/W", "y"]
    assert short_names(["/x/W", "/x/W"]) == ["W", "W"]
    assert short_names(["gs://b/W", "/W", "gs://c/W"]) == ["b/W", "W", "c/W"]


def test_a_verdict_is_in_words():
    assert verdict(50.0, 52.0, 0.001, 0.02, 3)["says"] == "differs"
    assert verdict(50.0, 52.0, 0.03, 0.3, 3)["says"] == "differs alone, not among so many tests"
    same = verdict(50.0, 48.0, 0.4, 1.0, 3)
    assert same["says"] == "no difference can be shown with 3 seeds"
    assert (same["gain"], same["p"]) == ("\u22122.0", "p = 0.400, adjusted 1.000")
    assert "one seed" in verdict(50.0, 48.0, np.nan, np.nan, 1)["says"]
    assert "no spread" in verdict(50.0, 50.0, np.nan, np.nan, 2)["says"]
    assert verdict(None, 50.0, np.nan, np.nan, 2)["says"] == "no score"


def test_a_videos_score_is_the_mean_of_type_and_event():
    """Of many videos its mean is that of the four scores."""
    split = a_split(dense=25)
    rows, truth = split.dense_rows, split.truth[:25] > 0
    said = truth ^ (np.random.default_rng(1).random(truth.shape) < 0.2)
    ten = scores(said, truth)
    segments = np.zeros(split.truth.shape, bool)
    segments[rows] = said
    values = differences.scores_by_video([parsed_of(split, segments)])
    wanted = np.mean(
        [ten[f"{level}/{x}"] for level in ("segment", "event") for x in ("type", "event")]
    )
    assert np.isnan(values[0, 25:]).all()
    assert values[0, :25].mean() == pytest.approx(wanted)


def parsed_of(split, segments):
    from avvp_jax.reports.parsed_files import Parsed

    dense, label = np.zeros(len(split), bool), split.weak_label > 0
    dense[split.dense_rows] = True
    annotated = (split.truth > 0) & dense[:, None, None, None]
    wholes = np.stack([label.astype(np.float32)] * 3, axis=1)
    facts = split.filenames, split.task, "", segments, annotated, dense
    return Parsed(*facts, np.asarray(split.lengths), label, wholes)


def test_the_videos_that_differ_most_come_first():
    values = np.array([[1.0, 5.0, np.nan, 2.0], [1.0, 1.0, np.nan, 9.0]])
    assert differences.most_different(values) == [3, 1]
    assert len(differences.most_different(np.array([np.zeros(50), np.arange(50.0)]))) == 30


DAMAGE = {
    "no npz": lambda path: path.write_bytes(b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:500]),
    "pickled": lambda path: changed(path, filename=np.array(["a"] * VIDEOS, object)),
    "another shape": lambda path: changed(path, predicted=np.zeros((VIDEOS, 8, 3, 5), bool)),
    "fewer videos": lambda path: changed(path, weak_label=np.zeros((3, 5), bool)),
    "no bool": lambda path: changed(path, dense=np.full(VIDEOS, 7, np.uint8).view(bool)),
    "numbers": lambda path: changed(path, predicted=np.zeros((VIDEOS, 8, 2, 5))),
    "long clips": lambda path: changed(path, lengths=np.full(VIDEOS, 9)),
    "NaN": lambda path: changed(path, whole_prob=np.full((VIDEOS, 3, 5), np.nan)),
    "a class twice": lambda path: changed(path, classes=np.array(["a"] * 5)),
    "no text": lambda path: changed(path, classes=np.full(5, 2**31, np.uint32).view("<U1")),
    "other data": lambda path: changed(path, truth=np.array("0" * 16)),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}  # fmt: skip


def changed(path, **arrays):
    np.savez(path, **(dict(np.load(path)) | arrays))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_a_note_on_the_page(damage, tmp_path):
    split = a_split()
    one, two = (write_run(tmp_path / name, split, 0.1, seeds=1) for name in "ab")
    DAMAGE[damage](tmp_path / "b" / "parsed_test.npz")
    run([one, two], str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    why = "of other data than its scores" if damage == "other data" else "damaged"
    assert re.search(f"B: its parsed_test.npz is {why}; run --mode=eval there again", text)


def test_a_global_probability_above_one_is_not_damage(tmp_path):
    """As of MMIL whose attention hears at one time, and sees at another."""
    mmil = MMIL(2, 5, arithmetic=Arithmetic.named("float32", "highest"), rngs=nnx.Rngs(0))
    mmil.fc_prob.bias[...] += 9
    mmil.fc_frame_att.kernel[...] = 50 * np.ones((2, 5))
    mmil.fc_av_att.kernel[...] = 50 * np.ones((2, 5))
    early, late = np.zeros((2, VIDEOS, 8, 2), np.float32)
    early[:, 0], late[:, 7] = 1, 1
    whole = whole_probabilities(mmil(jnp.asarray(early), jnp.asarray(late)))
    run_ = pathlib.Path(write_run(tmp_path / "a", a_split(), 0.1, seeds=1))
    changed(run_ / "parsed_test.npz", whole_prob=np.asarray(whole))
    assert read_parsed(str(run_), "test").wholes.max() > 1.9


def test_numbers_with_papers_stand_side_by_side(tmp_path, monkeypatch):
    from avvp_jax.modes import comparison
    from avvp_jax.reports.published_scores import UNKNOWN, Published

    paper = Published("<PAPER>", (UNKNOWN, *(float(x) for x in range(1, 10))), "")
    monkeypatch.setattr(comparison, "papers_of", lambda results: [paper])
    split = a_split()
    one, two = (write_run(tmp_path / name, split, 0.1, seeds=1) for name in "ab")
    run([one, two], str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "&lt;PAPER&gt; (paper, test)" in text and "<PAPER>" not in text
    assert "[NaN" not in text and ">nan<" not in text
    assert dataclasses.is_dataclass(read_parsed(one, "test")) and len(NAMES) == 10
