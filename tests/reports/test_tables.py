"""Tables for the terminal, and the published rows."""

import math

import numpy as np
import pytest

from avvp_jax.methods import METHODS
from avvp_jax.metrics.scores import NAMES, per_class
from avvp_jax.metrics.video_scores import VIDEO_NAMES
from avvp_jax.reports.tables import (
    SYNTHETIC_NOTE,
    dense_note,
    per_class_table,
    per_class_video_table,
    scores_table,
)
from avvp_jax.task import LLP


def ten(first):
    return {name: first + i for i, name in enumerate(NAMES)}


def numbers(line, label):
    assert line.startswith(label)
    return line.removeprefix(label).split()


PUBLISHED = {name: method.published for name, method in METHODS.items() if method.published}


def test_splits_stand_above_the_published_row():
    table = scores_table({"val": ten(10.04), "test": ten(20.06)}, [PUBLISHED["han"]]).splitlines()
    assert table[0].index("segment-level") < table[0].index("event-level")
    assert numbers(table[1], "F-score, percent") == "A V AV Type Event A V AV Type Event".split()
    assert numbers(table[2], "val") == [f"{10 + i}.0" for i in range(10)]
    assert numbers(table[3], "test") == [f"{20 + i}.1" for i in range(10)]
    assert numbers(table[4], "HAN (paper, test)") == [f"{x:.1f}" for x in PUBLISHED["han"].scores]
    assert len(table) == 5 and len({len(line) for line in table}) == 1


def test_synthetic_data_are_marked():
    table = scores_table({"val": ten(1.0)})
    noted = scores_table({"val": ten(1.0)}, notes=[SYNTHETIC_NOTE, "and more"])
    assert noted == f"{table}\n{SYNTHETIC_NOTE}\nand more"


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_rows_hold_ten_percentages_whose_types_are_means(method):
    row = dict(zip(NAMES, PUBLISHED[method].scores, strict=True))
    known = [value for value in row.values() if not math.isnan(value)]
    assert known and all(40 < value < 70 for value in known) and PUBLISHED[method].source
    for level in ("segment", "event"):
        mean = np.mean([row[f"{level}/{part}"] for part in ("audio", "visual", "audio_visual")])
        misprint = method == "ma" and level == "segment"
        of_type = row[f"{level}/type"]
        assert math.isnan(mean) or of_type == pytest.approx(58.9 if misprint else mean, abs=0.11)


def test_scores_that_are_not_known_of_a_paper_are_blank():
    table = scores_table({"test": ten(20.0)}, [PUBLISHED["leap"]]).splitlines()
    said = [*"---", "64.8", "63.6", *"---", "60.2", "57.4"]
    assert numbers(table[-1], "LEAP (paper, test)") == said


def test_classes_that_do_not_occur_get_a_dash():
    pred, true = np.zeros((2, 1, 10, 2, 25), bool)
    pred[0, :4, 0, 3] = true[0, :8, 0, 3] = True
    table = per_class_table(LLP.classes, per_class(pred, true)).splitlines()
    assert len(table) == 2 + len(LLP.classes)
    assert numbers(table[1], "F-score, percent") == "A V AV Event A V AV Event".split()
    assert numbers(table[2 + 3], "Dog") == ["66.7", "-", "-", "66.7", "100.0", "-", "-", "100.0"]
    assert numbers(table[2], "Speech") == ["-"] * 8


def test_scores_of_whole_videos_stand_below_the_ten():
    whole = {name: 30.0 + i for i, name in enumerate(VIDEO_NAMES)}
    table = scores_table({"val": whole, "test": ten(20.0) | whole}, notes=["said"]).splitlines()
    above, below = table[:4], table[5:9]
    assert table[4] == "" and table[9:] == ["said"]
    assert numbers(above[2], "val") == ["-"] * 10  # without dense annotations
    assert numbers(above[3], "test") == [f"{20 + i}.0" for i in range(10)]
    assert numbers(below[1], "whole videos, percent") == ["F", "AP"] * 3
    assert below[0].index("video") < below[0].index("audio") < below[0].index("visual")
    for row, label in zip(below[2:], ("val", "test"), strict=True):
        assert numbers(row, label) == [f"{30 + i}.0" for i in range(6)]
    assert len({len(line) for line in below}) == 1
    assert "segment" not in scores_table({"val": whole})
    assert "whole" not in scores_table({"val": ten(1.0)})


@pytest.mark.parametrize(
    "classes", [("Bell",), ("Bells, small", 'a "b"', "Händel", "鈴", "e\u0301")]
)
def test_classes_without_a_video_get_a_dash(classes):
    each = np.arange(6.0)[:, None] + np.zeros(len(classes))
    each[:, -1] = np.nan
    positive = np.arange(len(classes))[::-1] * 1000
    table = per_class_video_table(classes, each, positive).splitlines()
    assert len(table) == 2 + len(classes)
    assert numbers(table[1], "whole videos, percent") == [*["F", "AP"] * 3, "videos"]
    for row, name, count in zip(table[2:-1], classes[:-1], positive[:-1], strict=True):
        assert numbers(row, name) == [*(f"{i}.0" for i in range(6)), str(count)]
    assert numbers(table[-1], classes[-1]) == ["-"] * 6 + ["0"]
    # In cells of a terminal, where a sign may take two or none.
    wide = {"鈴": 1, "e\u0301": -1}
    ends = {len(line) + wide.get(name, 0) for line, name in zip(table[2:], classes, strict=True)}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("dense", "said"), [(5, ""), (0, "only whole videos"), (2, "on 2 of 5 videos, those annotated")]
)
def test_what_is_not_annotated_is_said(dense, said):
    note = dense_note("val", dense, 5)
    assert said in note and bool(said) == note.startswith("val: ")
