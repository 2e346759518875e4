"""Reads the published annotation files: the videos, their labels, and the times of events.

Three files list the videos of a split and their weak labels. Two more have the dense audio and
visual labels of val and test. All are tables with a header line. Known oddities of the
real files are counted and reported; any other mistake raises a UserError.

Source: github.com/YapengTian/AVVP-ECCV20, folder data.
"""

import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from avvp_jax.errors import UserError, first_ten
from avvp_jax.task import Task
from tfds_llp.annotated import AnnotatedVideos, Annotations
from tfds_llp.csv_tables import read_table

SPLIT_FILES = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
DENSE_FILES = {"audio": "AVVP_eval_audio.csv", "visual": "AVVP_eval_visual.csv"}
FILES = (*SPLIT_FILES.values(), *DENSE_FILES.values())
DENSELY_LABELLED = ("val", "test")

# The id is used as a file name, so it must be short, and must not lead out of the folder.
# Five real names have decimals: AP0061o0Nvk_101.8_111.8.
_SECOND = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_FILENAME = re.compile(rf"([A-Za-z0-9_-]{{1,200}})_{_SECOND}_{_SECOND}")
# A time in seconds: 3, or 3.0 as a spreadsheet writes it.
_TIME = re.compile(r"[0-9]{1,9}(?:\.[0-9]*)?")


@dataclass(frozen=True)
class _Event:
    """One row of a dense file."""

    filename: str
    onset: str
    offset: str
    label: str

    def __str__(self):
        return f"{_shown(self.filename)} ({_shown(self.onset)}, {_shown(self.offset)})"


def read_annotations(paths: dict[str, Path], task: Task) -> Annotations:
    """Reads the five annotation files.

    Args:
        paths: the path of each of `FILES`.
        task: the task that they annotate; events begin and end at its segments' boundaries.

    Raises:
        UserError: a file is missing, unreadable, not UTF-8 text, lacks a column or has no
            rows; a class is unknown; a video name is damaged or occurs twice; onset or offset
            of a known video is no boundary of segments; most rows have onset after offset.
    """
    rows = {
        split: read_table(paths[name], ("filename", "event_labels"))
        for split, name in SPLIT_FILES.items()
    }
    events = {
        modality: [
            _Event(*row)
            for row in read_table(paths[name], ("filename", "onset", "offset", "event_labels"))
        ]
        for modality, name in DENSE_FILES.items()
    }

    reader = _LabelReader(task, summary={})
    _refuse_duplicates(rows)
    ids = {split: _video_ids(paths[SPLIT_FILES[split]], rows[split]) for split in rows}
    ids = reader.whole_names_of_shared(ids, rows)
    weak_labels = {split: reader.weak(paths[SPLIT_FILES[split]], rows[split]) for split in rows}
    known = {filename for split in DENSELY_LABELLED for filename, _ in rows[split]}
    dense_labels = {
        modality: reader.dense(paths[DENSE_FILES[modality]], events[modality], known)
        for modality in DENSE_FILES
    }

    splits = {}
    nothing = np.zeros((task.segments, len(task.classes)), np.uint8)
    for split in rows:
        filenames = [filename for filename, _ in rows[split]]
        audio_label, visual_label = (
            np.stack([dense_labels[modality].get(filename, nothing) for filename in filenames])
            for modality in ("audio", "visual")
        )
        splits[split] = AnnotatedVideos(
            ids[split],
            filenames,
            weak_labels[split],
            audio_label,
            visual_label,
            csv_row=np.arange(len(filenames)),
        )
    return Annotations(splits, reader.summary)


def describe(summary: dict[str, dict]) -> str:
    """The oddities in `Annotations.summary` as text, one line each."""
    lines = []
    for oddity, found in summary.items():
        examples = ", ".join(found["examples"])
        more = ", ..." if found["count"] > len(found["examples"]) else ""
        lines.append(f"  {oddity}: {found['count']} ({examples}{more})")
    return "\n".join(
        ["Oddities in the annotations, taken as they are:", *lines]
        if lines
        else ["No oddities in the annotations."]
    )


def _video_ids(path: Path, rows: list[tuple[str, str]]) -> list[str]:
    matches = [(filename, _FILENAME.fullmatch(filename)) for filename, _ in rows]
    damaged = [_shown(filename) for filename, match in matches if match is None]
    if damaged:
        _refuse_spreadsheets_errors(path, [filename for filename, _ in rows])
        raise UserError(
            f"{path}: video names must be ID_START_END with an ID of letters, digits, - and _; "
            f"not so: {first_ten(damaged)}"
        )
    return [match.group(1) for _, match in matches]


def _refuse_spreadsheets_errors(path: Path, names: list[str]) -> None:
    """Checks that no name is what a spreadsheet makes of one that it takes for a formula."""
    if lost := [name for name in names if name.startswith("#")]:
        raise UserError(
            f"{path}: {first_ten(list(dict.fromkeys(lost)))} is what a spreadsheet makes of a name "
            "with a leading -; put the published names back"
        )


def _refuse_duplicates(rows: dict[str, list[tuple[str, str]]]) -> None:
    """Checks that no video occurs twice.

    Raises:
        UserError: names the videos that occur twice.
    """
    counts = Counter(filename for split in rows.values() for filename, _ in split)
    repeated = [_shown(filename) for filename, count in counts.items() if count > 1]
    if repeated:
        raise UserError(
            f"videos named more than once in {', '.join(SPLIT_FILES.values())}: "
            f"{first_ten(repeated)}; leave one row of each"
        )


class _LabelReader:
    """Converts rows to labels of a task, and records their oddities in `summary`."""

    def __init__(self, task: Task, summary: dict[str, dict]):
        self._task, self.summary = task, summary
        self._class_index = {name: index for index, name in enumerate(task.classes)}
        boundaries = range(task.segments + 1)
        self._boundary_at = {Decimal(str(task.time(each))): each for each in boundaries}

    def whole_names_of_shared(
        self, ids: dict[str, list[str]], rows: dict[str, list[tuple[str, str]]]
    ) -> dict[str, list[str]]:
        """The ids, but the whole filename where several videos are cut from one YouTube video."""
        filenames = [filename for split in rows.values() for filename, _ in split]
        of_all = dict(zip(filenames, (i for split in ids.values() for i in split), strict=True))
        # A whole name may be another video's id, which then gives way too.
        while shared := [name for name, count in Counter(of_all.values()).items() if count > 1]:
            whole = {name: name for name, video_id in of_all.items() if video_id in set(shared)}
            self._note("videos that share their YouTube id with another", list(whole))
            of_all |= whole
        return {split: [of_all[filename] for filename, _ in rows[split]] for split in rows}

    def weak(self, path: Path, rows: list[tuple[str, str]]) -> UInt8[np.ndarray, "videos classes"]:
        """The weak labels of the videos of a split."""
        labels = [[name.strip() for name in listed.split(",")] for _, listed in rows]
        self._refuse_unknown_classes(path, [name for names in labels for name in names])
        weak = np.zeros((len(rows), len(self._task.classes)), np.uint8)
        repeated = []
        for video, names in enumerate(labels):
            weak[video, [self._class_index[name] for name in names]] = 1
            if len(set(names)) < len(names):
                repeated.append(rows[video][0])
        self._note(f"{path.name}: videos that list a label twice", repeated)
        return weak

    def dense(
        self, path: Path, events: list[_Event], known: set[str]
    ) -> dict[str, UInt8[np.ndarray, "segments classes"]]:
        """The dense labels of each known video with rows: each row sets label[onset:offset]."""
        self._refuse_unknown_classes(path, [event.label for event in events])
        _refuse_spreadsheets_errors(path, [event.filename for event in events])
        shape = (self._task.segments, len(self._task.classes))
        labels: dict[str, np.ndarray] = {}
        empty, reversed_, damaged = [], [], []
        for event in events:
            onset, offset = self._boundary(event.onset), self._boundary(event.offset)
            if onset is None or offset is None:
                if event.filename in known:
                    damaged.append(event)
                continue
            if onset == offset:
                empty.append(event)
            if onset > offset:
                reversed_.append(event)
            if event.filename in known:
                label = labels.setdefault(event.filename, np.zeros(shape, np.uint8))
                label[onset:offset, self._class_index[event.label]] = 1
        self._refuse_times(path, damaged)
        if 2 * len(reversed_) > len(events):
            raise UserError(
                f"{path}: onset is after offset in {len(reversed_)} of {len(events)} rows; see "
                "whether the two columns are exchanged"
            )
        unknown = [event for event in events if event.filename not in known]
        unknown_videos = dict.fromkeys(_shown(event.filename) for event in unknown)
        self._note(f"{path.name}: rows with onset = offset, no segment", empty)
        self._note(f"{path.name}: rows with onset > offset, no segment", reversed_)
        self._note(f"{path.name}: rows of videos in neither val nor test, left out", unknown)
        self._note(f"{path.name}: videos of those rows", list(unknown_videos))
        return labels

    def _boundary(self, text: str) -> int | None:
        """The boundary of segments at a time, from 0; None if there is none at that time."""
        return self._boundary_at.get(Decimal(text)) if _TIME.fullmatch(text) else None

    def _refuse_times(self, path: Path, damaged: list[_Event]) -> None:
        if damaged:
            seconds = self._task.seconds
            whole = "whole seconds" if seconds == 1 else f"multiples of {seconds:g} seconds"
            raise UserError(
                f"{path}: onset and offset must be {whole} from 0 to {self._task.duration}; "
                f"not so: {first_ten(damaged)}"
            )

    def _refuse_unknown_classes(self, path: Path, names: list[str]) -> None:
        known = self._task.classes
        unknown = [_shown(name) for name in dict.fromkeys(names) if name not in self._class_index]
        if unknown:
            raise UserError(
                f"{path}: unknown class names: {first_ten(unknown)}; {self._task.name} has "
                f"{len(known)} classes, from {known[0]} to {known[-1]}"
            )

    def _note(self, oddity: str, found: list) -> None:
        if found:
            examples = [str(item) for item in found[:10]]
            self.summary[oddity] = {"count": len(found), "examples": examples}


def _shown(text: str) -> str:
    """Text from a file for a one-line message: shortened, and quoted if it is not plain."""
    text = text if len(text) <= 60 else text[:60] + "..."
    return text if text.isprintable() and text and text == text.strip() else ascii(text)
