"""The csv files: labels by the published rules, oddities counted, damage refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from avvp_jax.errors import UserError
from avvp_jax.task import LLP
from tests.tfds_llp.published_folder import (
    AUDIO,
    TEST,
    TRAIN,
    VAL,
    ids,
    replace_text,
    write_csv,
    write_published,
)
from tfds_llp.annotations import FILES, describe, read_annotations

TRAIN_FILE, VAL_FILE, TEST_FILE, AUDIO_FILE, VISUAL_FILE = FILES
EVENTS = ["filename", "onset", "offset", "event_labels"]
REAL = os.environ.get("AVVP_LLP_DIR")


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "llp", streams=())


def read(folder):
    return read_annotations({name: folder / name for name in FILES}, LLP)


def counts(annotations):
    return {oddity: found["count"] for oddity, found in annotations.summary.items()}


def test_videos_stand_in_file_order_with_ids_without_start_and_end(folder):
    splits = read(folder).splits
    for name, videos in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        assert splits[name].filenames == list(videos)
        assert splits[name].ids == ids(videos)
    assert splits["train"].ids[1] == "AP0061o0Nvk"


def test_weak_labels_mark_the_named_classes(folder):
    splits = read(folder).splits
    for name, videos in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        marked = [{LLP.classes[c] for c in np.flatnonzero(row)} for row in splits[name].weak_label]
        assert marked == [set(labels.split(",")) for labels in videos.values()]


def test_dense_labels_mark_the_seconds_from_onset_to_before_offset(folder):
    splits = read(folder).splits
    speech, violin, clapping = map(LLP.classes.index, ("Speech", "Violin_fiddle", "Clapping"))
    audio = splits["val"].audio_label
    assert audio[0, :, speech].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert audio[0, :, violin].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert audio[1, :, clapping].sum() == 0, "empty and reversed rows mark nothing"
    cat = LLP.classes.index("Cat")
    assert splits["test"].visual_label[1, :, cat].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert splits["test"].visual_label.sum() == 10 + 6
    assert splits["train"].audio_label.shape == (4, 10, 25)
    assert splits["train"].audio_label.sum() == splits["train"].visual_label.sum() == 0


def test_oddities_are_counted_with_examples(folder):
    annotations = read(folder)
    assert counts(annotations) == {
        f"{TRAIN_FILE}: videos that list a label twice": 1,
        f"{AUDIO_FILE}: rows with onset = offset, no segment": 2,
        f"{AUDIO_FILE}: rows with onset > offset, no segment": 1,
        f"{AUDIO_FILE}: rows of videos in neither val nor test, left out": 2,
        f"{AUDIO_FILE}: videos of those rows": 2,
        f"{VISUAL_FILE}: rows of videos in neither val nor test, left out": 1,
        f"{VISUAL_FILE}: videos of those rows": 1,
    }
    text = describe(annotations.summary)
    assert "KvIjsmANkxI_10_20`" in text and "valvideo_02_10_20 (9, 0)" in text
    assert json.loads(json.dumps(annotations.summary)) == annotations.summary


def test_at_most_ten_examples_are_kept(folder):
    rows = [(f"unknown{i:04}_0_10", 0, 1, "Speech") for i in range(12)]
    write_csv(folder / AUDIO_FILE, EVENTS, [*AUDIO, *rows])
    found = read(folder).summary[f"{AUDIO_FILE}: videos of those rows"]
    assert found["count"] == 14 and len(found["examples"]) == 10


def test_files_without_oddities_are_said_to_have_none(folder):
    replace_text(folder / TRAIN_FILE, "Speech,Speech", "Speech")
    for name in (AUDIO_FILE, VISUAL_FILE):
        write_csv(folder / name, EVENTS, [("valvideo_01_0_10", 0, 4, "Speech")])
    annotations = read(folder)
    assert annotations.summary == {}
    assert describe(annotations.summary) == "No oddities in the annotations."


def rewrite(change):
    def apply(folder):
        for name in FILES:
            (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def reorder(folder):
    for name in FILES:
        lines = [line.split("\t") for line in (folder / name).read_text().splitlines()]
        swapped = [[line[-1], "more", *line[:-1]] for line in lines]
        write_csv(folder / name, swapped[0], swapped[1:])


def quote(quoted, separator="\t"):
    """Writes the tables as a spreadsheet does, with quotes around the cells that `quoted` names."""

    def apply(folder):
        for name in FILES:
            lines = [line.split("\t") for line in (folder / name).read_text().splitlines()]
            rows = [[f'"{cell}"' if quoted(cell) else cell for cell in line] for line in lines]
            (folder / name).write_text("".join(separator.join(row) + "\r\n" for row in rows))

    return apply


HARMLESS = {
    "byte order mark": rewrite(lambda text: b"\xef\xbb\xbf" + text),
    "CRLF": rewrite(lambda text: text.replace(b"\n", b"\r\n")),
    "CR": rewrite(lambda text: text.replace(b"\n", b"\r")),
    "no newline at the end": rewrite(lambda text: text.rstrip(b"\n")),
    "blank lines": rewrite(lambda text: text.replace(b"\n", b"\n\n")),
    "other order and more columns": reorder,
    "UTF-16, a spreadsheet's Unicode text": rewrite(lambda text: text.decode().encode("utf-16")),
    "two byte order marks": rewrite(lambda text: b"\xef\xbb\xbf\xef\xbb\xbf" + text),
    "lists in quotes": quote(lambda cell: "," in cell),
    "everything in quotes": quote(lambda cell: True),
    "commas between columns": quote(lambda cell: "," in cell, ","),
    "semicolons between columns": quote(lambda cell: False, ";"),
    "what separates columns, said first": lambda folder: (
        quote(lambda cell: False, ";")(folder),
        rewrite(lambda text: b"sep=;\r\n" + text)(folder),
    ),
    "trailing tabs": rewrite(lambda text: text.replace(b"\n", b"\t\t\n")),
    "trailing tabs below the header": rewrite(
        lambda text: text.replace(b"\n", b"\t\n").replace(b"\t\n", b"\n", 1)
    ),
    "lines of tabs and spaces": rewrite(lambda text: text.replace(b"\n", b"\n\t \t\n") + b"\t\n\n"),
    "lines of commas": lambda folder: (
        quote(lambda cell: "," in cell, ",")(folder),
        rewrite(lambda text: text + b",\n,,,\r\n")(folder),
    ),
    "spaces around cells": rewrite(lambda text: text.replace(b"\t", b" \t ")),
    "spaces in lists": rewrite(lambda text: text.replace(b",", b", ")),
    "floats": lambda folder: replace_text(folder / AUDIO_FILE, "\t0\t4\t", "\t0.0\t4.\t"),
    "bad times of unknown videos": lambda folder: replace_text(
        folder / VISUAL_FILE, "CSWQ_HzQ_10_20\t0\t10", "CSWQ_HzQ_10_20\tx\t-3"
    ),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_harmless_differences_change_nothing(folder, change):
    before = read(folder)
    HARMLESS[change](folder)
    after = read(folder)
    assert counts(after) == counts(before)
    for name, split in before.splits.items():
        assert after.splits[name].filenames == split.filenames
        assert (after.splits[name].weak_label == split.weak_label).all()
        assert (after.splits[name].audio_label == split.audio_label).all()
        assert (after.splits[name].visual_label == split.visual_label).all()


def test_ten_names_and_the_count_are_listed(folder):
    names = [f"bad name {i}_0_10" for i in range(13)]
    write_csv(folder / TRAIN_FILE, ["filename", "event_labels"], [(n, "Dog") for n in names])
    with pytest.raises(UserError, match="bad name 9_0_10.*13 in all") as refusal:
        read(folder)
    assert "bad name 10_0_10" not in str(refusal.value)


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.sampled_from(LLP.classes))))
def test_dense_labels_follow_pythons_slices(tmp_path_factory, events):
    # A file that has most of its events reversed is refused.
    assume(2 * sum(onset > offset for onset, offset, _ in events) <= len(events))
    folder = write_published(tmp_path_factory.mktemp("events") / "llp", streams=())
    rows = [("valvideo_02_10_20", *event) for event in events]
    write_csv(folder / AUDIO_FILE, EVENTS, [*AUDIO, *rows])
    expected = {name: [0] * 10 for name in LLP.classes}
    for onset, offset, name in events:
        expected[name][onset:offset] = [1] * len(expected[name][onset:offset])
    found = read(folder).splits["val"].audio_label[1]
    assert found.T.tolist() == [expected[name] for name in LLP.classes]


@pytest.fixture(scope="module")
def published():
    return read(Path(REAL))


@pytest.mark.skipif(not REAL, reason="AVVP_LLP_DIR does not name the published annotations")
class TestPublishedFiles:
    def test_sizes(self, published):
        sizes = {name: len(split.ids) for name, split in published.splits.items()}
        assert sizes == {"train": 10_000, "val": 649, "test": 1_200}

    def test_ids_are_youtubes(self, published):
        assert all(len(i) == 11 for split in published.splits.values() for i in split.ids)

    def test_five_train_names_have_decimals(self, published):
        assert sum("." in name for name in published.splits["train"].filenames) == 5

    def test_known_oddities(self, published):
        assert counts(published) == {
            f"{TEST_FILE}: videos that list a label twice": 1,
            f"{AUDIO_FILE}: rows with onset = offset, no segment": 5,
            f"{AUDIO_FILE}: rows with onset > offset, no segment": 1,
            f"{AUDIO_FILE}: rows of videos in neither val nor test, left out": 14,
            f"{AUDIO_FILE}: videos of those rows": 8,
            f"{VISUAL_FILE}: rows of videos in neither val nor test, left out": 11,
            f"{VISUAL_FILE}: videos of those rows": 7,
        }

    def test_dense_labels_mark_what_the_rows_say(self, published):
        for modality, name in (("audio", AUDIO_FILE), ("visual", VISUAL_FILE)):
            rows = [line.split("\t") for line in (Path(REAL) / name).read_text().splitlines()[1:]]
            marked = {(f, second, c) for f, a, b, c in rows for second in range(int(a), int(b))}
            for split in (published.splits["val"], published.splits["test"]):
                label = getattr(split, f"{modality}_label")
                found = {
                    (split.filenames[video], second, LLP.classes[c])
                    for video, second, c in np.argwhere(label).tolist()
                }
                assert found == {event for event in marked if event[0] in set(split.filenames)}

    def test_videos_that_the_two_kinds_of_label_disagree_about(self, published):
        split = [published.splits[name] for name in ("val", "test")]
        audio = np.concatenate([s.audio_label for s in split])
        visual = np.concatenate([s.visual_label for s in split])
        weak = np.concatenate([s.weak_label for s in split])
        # Nine have no audio rows, one has only an empty one.
        assert (~audio.any((1, 2))).sum() == 9 + 1
        assert (~visual.any((1, 2))).sum() == 191
        # 81 have rows of other classes; three lose a class to an empty or reversed row.
        assert ((audio | visual).any(1) != weak).any(1).sum() == 81 + 3
