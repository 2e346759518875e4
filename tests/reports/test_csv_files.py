"""Files of events and of each video's scores, read again."""

import csv

import numpy as np
import pytest

from avvp_jax.metrics.scores import PER_VIDEO_NAMES, per_video, scores
from avvp_jax.metrics.video_scores import COUNTED
from avvp_jax.reports.csv_files import write_events_csv, write_per_video_csv
from avvp_jax.task import LLP, Task


def test_the_csv_is_in_the_format_of_the_dense_annotation_files(tmp_path):
    segments = np.zeros((3, 10, 2, 25), bool)
    segments[0, 8:10, 0, 23] = segments[0, 0:8, 0, 0] = True
    segments[0, 3:5, 1, 1] = True  # visual: not in this file
    segments[2, [0, 2], 0, 5] = True
    path = tmp_path / "events_test_audio.csv"
    path.write_text("an older file")
    write_events_csv(path, ["b_0_10", "a_0_10", "-c_5_15"], segments, "audio", LLP)
    assert path.read_text() == (
        "filename\tonset\toffset\tevent_labels\n"
        "b_0_10\t0\t8\tSpeech\n"
        "b_0_10\t8\t10\tBlender\n"
        "-c_5_15\t0\t1\tFrying_(food)\n"
        "-c_5_15\t2\t3\tFrying_(food)\n"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_csv_read_with_slice_rules_gives_the_segments_back(tmp_path):
    segments = np.random.default_rng(0).random((4, 10, 2, 25)) < 0.4
    names = [f"video{i}_0_10" for i in range(4)]
    write_events_csv(tmp_path / "events.csv", names, segments, "visual", LLP)
    read = np.zeros((4, 10, 25), bool)
    for line in (tmp_path / "events.csv").read_text().splitlines()[1:]:
        name, onset, offset, label = line.split("\t")
        read[names.index(name), int(onset) : int(offset), LLP.classes.index(label)] = True
    np.testing.assert_array_equal(read, segments[:, :, 1])


@pytest.mark.parametrize("seconds, expected", [(2, "8\t12"), (0.5, "2\t3"), (0.25, "1\t1.5")])
def test_times_are_in_seconds_of_the_task(tmp_path, seconds, expected):
    task = Task("made up", ("bell", "drum"), segments=6, seconds=seconds)
    segments = np.zeros((1, 6, 2, 2), bool)
    segments[0, 4:6, 0, 1] = True
    write_events_csv(tmp_path / "events.csv", ["video"], segments, "audio", task)
    _, row = (tmp_path / "events.csv").read_text().splitlines()
    assert row == f"video\t{expected}\tdrum"


def test_the_per_video_file_averages_to_the_scores(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.random((6, 10, 2, 25)) < 0.1
    pred = true ^ (rng.random(true.shape) < 0.03)
    names = [f"video{i}_0_10" for i in range(6)]
    path = tmp_path / "per_video.csv"
    counts = np.arange(18).reshape(6, 3)
    write_per_video_csv(path, names, per_video(pred, true), counts)
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    assert header == ["filename", *PER_VIDEO_NAMES, *COUNTED]
    assert [row[0] for row in rows] == names
    assert [list(map(int, row[9:])) for row in rows] == counts.tolist()
    means = np.array([row[1:9] for row in rows], float).mean(axis=0)
    found = scores(pred, true)
    for name, mean in zip(PER_VIDEO_NAMES, means, strict=True):
        assert mean == pytest.approx(found[name], abs=1e-3)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dense", [[], [1], [0, 2]], ids=str)
def test_videos_without_annotations_have_empty_cells(tmp_path, dense):
    scored = np.full((3, 8), np.nan)
    scored[dense] = 0.25
    write_per_video_csv(tmp_path / "x.csv", ["a", "b", "c"], scored, np.ones((3, 3), int))
    with open(tmp_path / "x.csv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for number, row in enumerate(rows):
        if not dense:
            assert list(row) == ["filename", *COUNTED]
        else:
            assert row["event/event"] == ("25.0000" if number in dense else "")
        assert [row[name] for name in COUNTED] == ["1"] * 3


ODD = ("Bells, small", 'the "big" one', '"quoted"', " leading", "Händel – 鈴", "<b> & -->", "a\tb",
       "it's $x^2$", "#1", "=1+2", "two\nlines")  # fmt: skip


@pytest.mark.parametrize(
    "classes", [("only",), ODD, ODD[:1], tuple(map("class {}".format, range(40)))]
)
def test_any_names_can_be_read_back(tmp_path, classes):
    task = Task("made up", classes, segments=3, seconds=0.5)
    segments = np.zeros((2, 3, 2, len(classes)), bool)
    segments[1, 1:, 1] = True
    names = ["one", 'two "b", c']
    write_events_csv(tmp_path / "events.csv", names, segments, "visual", task)
    with open(tmp_path / "events.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["event_labels"] for row in rows] == list(classes)
    assert {(row["filename"], row["onset"], row["offset"]) for row in rows} == {
        (names[1], "0.5", "1.5")
    }
