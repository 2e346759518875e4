"""A task as a value: its times, and its way through json."""

import json

import pytest

from avvp_jax.task import LLP, Task


def test_llp_has_25_classes_in_ten_segments_of_a_second():
    assert len(LLP.classes) == len(set(LLP.classes)) == 25
    assert (LLP.segments, LLP.seconds, LLP.duration) == (10, 1, 10)


@pytest.mark.parametrize(
    "seconds, times", [(1, "0 1 2 3"), (2, "0 2 4 6"), (0.5, "0 0.5 1 1.5"), (0.1, "0 0.1 0.2 0.3")]
)
def test_times_are_whole_numbers_where_they_can_be(seconds, times):
    task = Task("made up", ("bell",), segments=3, seconds=seconds)
    assert " ".join(str(task.time(boundary)) for boundary in range(4)) == times
    assert str(task.duration) == times.split()[-1]


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [
        (2, {0.01: 1, 0.99: 1, 2.9: 1, 3: 2, 4.999: 2, 5: 3, 6: 3, 99: 3}),
        (0.1, {0.14: 1, 0.15: 2, 0.25: 3, 0.3: 3}),
        (0.96, {1.43: 1, 1.44: 2, 2.88: 3}),
    ],
)
def test_a_clip_has_as_many_segments_as_fit_it_best(seconds, lengths):
    task = Task("made up", ("bell",), segments=3, seconds=seconds)
    assert {x: task.segments_in(x) for x in lengths} == lengths


@pytest.mark.parametrize("task", [LLP, Task("made up", ("bell", "drum"), 6, 0.96)])
def test_json_gives_it_back(task):
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 3},
        {"classes": []},
        {"classes": ["bell", "bell"]},
        {"classes": ["bell", ""]},
        {"classes": [1]},
        {"segments": 0},
        {"segments": 2.0},
        {"segments": True},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1"},
    ],
)
def test_what_describes_no_task_is_refused(change):
    with pytest.raises(ValueError, match="describes no task"):
        Task.from_json(LLP.to_json() | change)
