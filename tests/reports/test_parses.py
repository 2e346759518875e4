"""The files of a parsed video."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from avvp_jax.reports.parses import (
    Parse,
    events_table,
    label_track,
    subtitles,
    write_all_events,
    write_parse,
)
from avvp_jax.task import Task

TASK = Task("ducks", ("quack", "<b> & -->", "splash"), segments=4, seconds=0.5)


@pytest.fixture
def parse():
    """Five segments of half a second: a class heard, another one seen twice until the end."""
    frame = np.full((5, 2, 3), 0.1, np.float32)
    frame[1:3, 0, 0] = 0.6, 0.8
    frame[0, 1, 1] = frame[3:, 1, 1] = 0.75
    whole = np.linspace(0, 1, 15, dtype=np.float32).reshape(5, 3)
    return Parse(
        name="pond",
        task=TASK,
        duration=2.4,
        probs={"frame_prob": frame, "global_prob": whole},
        segments=frame > 0.5,
        windows=[(start, {"global_prob": whole[at]}) for at, start in enumerate((0.0, 0.5))],
        remarks=["no sound: nothing can be heard"],
        facts={"model": {"method": "han"}},
    )


def test_events_have_times_and_probabilities(parse):
    found = [(e.modality, e.label, e.onset, e.offset) for e in parse.events]
    assert found == [
        ("visual", "<b> & -->", 0, 0.5),
        ("audio", "quack", 0.5, 1.5),
        ("visual", "<b> & -->", 1.5, 2.4),
    ]
    quack = parse.events[1]
    assert (quack.mean, quack.peak) == (pytest.approx(0.7), pytest.approx(0.8))


def test_files_say_what_was_found(parse, tmp_path):
    write_parse(str(tmp_path), parse)
    record = json.loads((tmp_path / "pond.json").read_text())
    assert record["duration"] == 2.4 and record["model"] == {"method": "han"}
    assert record["remarks"] == list(parse.remarks)
    assert record["events"][1] == {
        "modality": "audio",
        "class": "quack",
        "onset": 0.5,
        "offset": 1.5,
        "mean_probability": 0.7,
        "peak_probability": 0.8,
    }
    assert [window["start"] for window in record["windows"]] == [0.0, 0.5]
    assert record["windows"][1]["global_prob"]["quack"] == pytest.approx(3 / 14, abs=1e-4)
    with np.load(tmp_path / "pond.npz") as arrays:
        np.testing.assert_array_equal(arrays["frame_prob"], parse.probs["frame_prob"])
        np.testing.assert_array_equal(arrays["segments"], parse.segments)
        assert arrays["time"].tolist() == [0, 0.5, 1, 1.5, 2]
        assert tuple(arrays["classes"]) == TASK.classes


def test_subtitles_can_be_read_by_players(parse, tmp_path):
    write_parse(str(tmp_path), parse)
    text = (tmp_path / "pond.vtt").read_text()
    assert text.startswith("WEBVTT\n\n")
    blocks = text.strip().split("\n\n")[1:]
    assert blocks[1] == "00:00:00.500 --> 00:00:01.500\nheard: quack"
    assert blocks[2] == "00:00:01.500 --> 00:00:02.400\nseen: &lt;b&gt; &amp; --&gt;"
    assert all(block.count("-->") == 1 for block in blocks)


def test_hours_are_counted_in_subtitles():
    frame = np.zeros((4000, 2, 3), np.float32)
    frame[3661, 0, 2] = 1
    task = Task("ducks", TASK.classes, 10, 1)
    long = Parse("long", task, 4000, {"frame_prob": frame}, frame > 0.5, [])
    assert subtitles(long)[2] == "01:01:01.000 --> 01:01:02.000"


def test_audacity_gets_times_and_labels_with_tabs_between(parse, tmp_path):
    write_parse(str(tmp_path), parse)
    rows = [line.split("\t") for line in (tmp_path / "pond.labels.txt").read_text().splitlines()]
    assert rows[1] == ["0.500000", "1.500000", "heard: quack"] and len(rows) == 3


def test_all_videos_events_stand_in_the_format_of_the_annotations(parse, tmp_path):
    write_all_events(str(tmp_path), [parse])
    with open(tmp_path / "events_visual.csv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["filename"], row["onset"], row["offset"]) for row in rows] == [
        ("pond", "0", "0.5"),
        ("pond", "1.5", "2.4"),
    ]
    assert (tmp_path / "events_audio.csv").read_text().splitlines()[1] == "pond\t0.5\t1.5\tquack"


def test_the_table_says_what_is_heard_and_seen(parse):
    lines = events_table(parse).splitlines()
    assert lines[0] == "pond (2.4 s)" and "nothing can be heard" in lines[1]
    assert lines[3].split() == ["0.5", "to", "1.5", "s", "heard", "quack", "(70%)"]
    silent = Parse("x", TASK, 1, {"frame_prob": np.zeros((2, 2, 3))}, np.zeros((2, 2, 3), bool), [])
    assert "no event found" in events_table(silent)


def test_odd_names_stay_what_they_are(parse, tmp_path):
    """Names with what tables are cut at; and a file that is gone on with keeps other videos."""
    classes = ("quack, loud", 'a "coot"', "drake\u2028hen")
    task = dataclasses.replace(parse.task, classes=classes)
    first = dataclasses.replace(parse, name='pond "1"', task=task)
    second = dataclasses.replace(parse, name="pond\t2", task=task)
    for each in (first, second, first):
        write_all_events(str(tmp_path), [each])
    heard = []
    for modality in ("audio", "visual"):
        with open(tmp_path / f"events_{modality}.csv", newline="") as file:
            heard += list(csv.DictReader(file, delimiter="\t"))
    wanted = sorted((each.name, event.label) for each in (first, second) for event in each.events)
    assert sorted((row["filename"], row["event_labels"]) for row in heard) == wanted
    assert len({name for name, _ in wanted}) == 2
    for lines in (subtitles(first), label_track(first)):
        assert all(len(line.splitlines()) <= 1 for line in lines)
