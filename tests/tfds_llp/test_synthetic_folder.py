"""A made-up folder of one's own: its files, and what they say of its videos."""

import csv

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.media.windows import Wanted, windows
from avvp_jax.task import Task
from tfds_llp.synthetic_folder import (
    MOST_CLASSES,
    clip,
    happenings,
    run,
    write_clip,
    write_folder,
)
from tfds_llp.synthetic_folder import arguments as parser

KIND = {"classes": 5, "segments": 3, "segment_seconds": 1.0, "any_length": True}


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("av")
    out = tmp_path_factory.mktemp("made") / "data"
    write_folder(out, videos=7, dense=True, seed=3, **KIND)
    return out


def test_a_folder_lists_its_videos_and_what_occurs_in_each(folder):
    assert [row["name"] for row in rows(folder / "classes.csv")] == [
        f"Thing {number}" for number in range(1, 6)
    ]
    listed = [row for split in ("train", "val", "test") for row in rows(folder / f"{split}.csv")]
    assert [row["filename"] for row in listed] == [f"clip_{number:04}.mp4" for number in range(7)]
    for number, row in enumerate(listed):
        _, _, events = clip(3, number, **KIND)
        names = {f"Thing {each.index + 1}" for each in events}
        assert set(row["event_labels"].split(",")) == names
        assert (folder / "videos" / row["filename"]).stat().st_size > 1000


def test_dense_files_have_the_times_of_val_and_test(folder):
    for modality in ("audio", "visual"):
        found = rows(folder / f"dense_{modality}.csv")
        expected = []
        for number in (5, 6):
            _, _, events = clip(3, number, **KIND)
            expected += [
                (f"clip_{number:04}", each.onset, each.offset)
                for each in events
                if each.modality == modality
            ]
        times = [(row["filename"], float(row["onset"]), float(row["offset"])) for row in found]
        assert times == expected


def test_videos_last_as_long_as_their_events_say(folder):
    for number in range(7):
        _, seconds, _ = clip(3, number, **KIND)
        path = folder / "videos" / f"clip_{number:04}.mp4"
        (window,) = windows(str(path), Wanted(Task("clips", ("any",), 3, 1), ("r2plus1d",)))
        assert window.found == pytest.approx((seconds, seconds), abs=0.15)


def test_equal_seeds_make_equal_files(folder, tmp_path):
    again = tmp_path / "again"
    write_folder(again, videos=7, dense=True, seed=3, **KIND)
    for path in sorted(folder.rglob("*.*")):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path


def test_a_long_video_has_events_all_along(tmp_path):
    pytest.importorskip("av")
    write_clip(tmp_path / "new.mp4", classes=3, seconds=24, seed=1)
    found = rows(tmp_path / "new.truth.csv")
    assert {row["modality"] for row in found} == {"audio", "visual"}
    assert max(float(row["offset"]) for row in found) <= 24
    assert max(float(row["onset"]) for row in found) >= 12


@pytest.mark.parametrize("classes", [1, 2, MOST_CLASSES])
def test_events_are_of_the_classes_that_there_are(classes):
    events = happenings(np.random.default_rng(0), 30.0, classes)
    assert {each.index for each in events} <= set(range(classes))
    assert all(0 <= each.onset < each.offset <= 30.0 for each in events)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either --out"),
        (["--outt"], "see python -m tfds_llp.synthetic_folder --help"),
        (["--out", "{}", "--clip", "{}/x.mp4"], "give either --out"),
        (["--out", "{}"], "is there already"),
        (["--out", "{}/x", "--classes", "61"], "--classes=61: must be from 1 to 60"),
        (["--out", "{}/x", "--segments", "61"], "--segments=61: must be from 1 to 60"),
        (["--out", "{}/x", "--videos", "2"], "--videos=2: must be from 3"),
        (["--clip", "{}/x.mov"], "must end in .mp4"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, said, tmp_path):
    with pytest.raises(UserError) as raised:
        run(parser().parse_args([each.format(tmp_path) for each in arguments]))
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
