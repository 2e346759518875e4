"""The published LLP annotation files: which videos, which events, where.

Three files give the videos of a split and their weak labels, two more the dense
audio and visual labels of val and test. All are tab separated with a header line.
What the real files are known to get wrong is counted and reported; anything else
that is wrong stops with a UserError.

Source: github.com/YapengTian/AVVP-ECCV20, folder data.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.reading import DamagedFile, read_bytes
from avvp_jax.task import CLASSES, NUM_CLASSES, SEGMENTS

SPLIT_FILES = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
DENSE_FILES = {"audio": "AVVP_eval_audio.csv", "visual": "AVVP_eval_visual.csv"}
FILES = (*SPLIT_FILES.values(), *DENSE_FILES.values())
DENSELY_LABELLED = ("val", "test")

_CLASS_INDEX = {name: index for index, name in enumerate(CLASSES)}
# The id becomes a file name, so it is short and holds nothing that could leave the folder.
# Five real names have decimals: AP0061o0Nvk_101.8_111.8.
_SECOND = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_FILENAME = re.compile(rf"([A-Za-z0-9_-]{{1,200}})_{_SECOND}_{_SECOND}")
# Whole seconds, also as a spreadsheet would write them: 3 or 3.0.
_SECONDS = re.compile(r"([0-9]{1,9})(?:\.0*)?")
# The largest real file has 0.4 MB.
_LARGEST_FILE = 64 << 20


@dataclass(frozen=True)
class Split:
    """The videos of one split in the order of the csv file; labels are 0 or 1.

    `audio_label` and `visual_label` are zero for train, which has no dense labels. `csv_row` counts
    the rows below the header line; some are missing once videos were left out.
    """

    ids: list[str]
    filenames: list[str]
    weak_label: UInt8[np.ndarray, "videos classes"]
    audio_label: UInt8[np.ndarray, "videos segments classes"]
    visual_label: UInt8[np.ndarray, "videos segments classes"]
    csv_row: Int[np.ndarray, " videos"]

    def keep(self, kept: list[bool]) -> "Split":
        """The videos where `kept` is true."""
        return Split(
            [video_id for video_id, keep in zip(self.ids, kept, strict=True) if keep],
            [filename for filename, keep in zip(self.filenames, kept, strict=True) if keep],
            self.weak_label[kept],
            self.audio_label[kept],
            self.visual_label[kept],
            self.csv_row[kept],
        )


@dataclass(frozen=True)
class Annotations:
    """All splits, and for each oddity met: how often, and up to ten examples.

    `summary` maps "FILE: oddity" to {"count": int, "examples": [str, ...]} and can be
    stored as json.
    """

    splits: dict[str, Split]
    summary: dict[str, dict]


@dataclass(frozen=True)
class _Event:
    """One row of a dense file."""

    filename: str
    onset: str
    offset: str
    label: str

    def __str__(self):
        return f"{_shown(self.filename)} ({_shown(self.onset)}, {_shown(self.offset)})"


def read_annotations(paths: dict[str, Path]) -> Annotations:
    """Read the five annotation files.

    Args:
        paths: where each of `FILES` is.

    Raises:
        UserError: a file is missing, unreadable, not UTF-8 text, lacks a column or has no
            rows; a class is unknown; a video name is damaged or met twice; onset or offset
            of a known video is not a whole second from 0 to 10; most rows are reversed.
    """
    rows = {
        split: _read_table(paths[name], ("filename", "event_labels"))
        for split, name in SPLIT_FILES.items()
    }
    events = {
        modality: [
            _Event(*row)
            for row in _read_table(paths[name], ("filename", "onset", "offset", "event_labels"))
        ]
        for modality, name in DENSE_FILES.items()
    }

    summary: dict[str, dict] = {}
    ids = {split: _video_ids(paths[SPLIT_FILES[split]], rows[split]) for split in rows}
    _refuse_duplicates(ids)
    weak_labels = {
        split: _weak_labels(paths[SPLIT_FILES[split]], rows[split], summary) for split in rows
    }
    known = {filename for split in DENSELY_LABELLED for filename, _ in rows[split]}
    dense_labels = {
        modality: _dense_labels(paths[DENSE_FILES[modality]], events[modality], known, summary)
        for modality in DENSE_FILES
    }

    splits = {}
    for split in rows:
        filenames = [filename for filename, _ in rows[split]]
        nothing = np.zeros((SEGMENTS, NUM_CLASSES), np.uint8)
        audio_label, visual_label = (
            np.stack([dense_labels[modality].get(filename, nothing) for filename in filenames])
            for modality in ("audio", "visual")
        )
        splits[split] = Split(
            ids[split],
            filenames,
            weak_labels[split],
            audio_label,
            visual_label,
            csv_row=np.arange(len(filenames)),
        )
    return Annotations(splits, summary)


def describe(summary: dict[str, dict]) -> str:
    """The oddities of `Annotations.summary`, one line each, or a line that there are none."""
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


def _read_table(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The named columns of a tab separated file, one tuple per row; blank lines are skipped."""
    reader = csv.reader(
        io.StringIO(_read_text(path), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise UserError(
            f"{path}: line {reader.line_num} is not tab separated text ({error}); restore it"
        ) from None
    if not lines:
        raise UserError(f"{path}: the file is empty; restore the published one")
    header = lines[0][1]
    missing = [column for column in columns if header.count(column) != 1]
    if missing:
        raise UserError(
            f"{path}: the header line (tab separated) must name each of the columns "
            f"{', '.join(columns)} once; wrong: {', '.join(missing)}"
        )
    if len(lines) == 1:
        raise UserError(f"{path}: nothing below the header line; restore the published file")
    wrong = [str(number) for number, line in lines[1:] if len(line) != len(header)]
    if wrong:
        raise UserError(
            f"{path}: lines that do not have the header's {len(header)} columns: {first_ten(wrong)}"
        )
    places = [header.index(column) for column in columns]
    return [tuple(line[place] for place in places) for _, line in lines[1:]]


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, _LARGEST_FILE).decode("utf-8-sig")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; put the published csv file there") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def _video_ids(path: Path, rows: list[tuple[str, str]]) -> list[str]:
    matches = [(filename, _FILENAME.fullmatch(filename)) for filename, _ in rows]
    damaged = [_shown(filename) for filename, match in matches if match is None]
    if damaged:
        raise UserError(
            f"{path}: video names must be ID_START_END with an ID of letters, digits, - and _; "
            f"not so: {first_ten(damaged)}"
        )
    return [match.group(1) for _, match in matches]


def _refuse_duplicates(ids: dict[str, list[str]]) -> None:
    """Features are stored by id, so one id is one video."""
    counts = Counter(video_id for split_ids in ids.values() for video_id in split_ids)
    repeated = [video_id for video_id, count in counts.items() if count > 1]
    if repeated:
        raise UserError(
            f"videos named more than once in {', '.join(SPLIT_FILES.values())}: "
            f"{first_ten(repeated)}; leave one row of each"
        )


def _weak_labels(
    path: Path, rows: list[tuple[str, str]], summary: dict[str, dict]
) -> UInt8[np.ndarray, "videos classes"]:
    labels = [row_labels.split(",") for _, row_labels in rows]
    _refuse_unknown_classes(path, [name for names in labels for name in names])
    weak = np.zeros((len(rows), NUM_CLASSES), np.uint8)
    repeated = []
    for video, names in enumerate(labels):
        weak[video, [_CLASS_INDEX[name] for name in names]] = 1
        if len(set(names)) < len(names):
            repeated.append(rows[video][0])
    _note(summary, f"{path.name}: videos that list a label twice", repeated)
    return weak


def _dense_labels(
    path: Path, events: list[_Event], known: set[str], summary: dict[str, dict]
) -> dict[str, UInt8[np.ndarray, "segments classes"]]:
    """Labels of the known videos that have rows: label[onset:offset] = 1 for each row."""
    _refuse_unknown_classes(path, [event.label for event in events])
    labels: dict[str, np.ndarray] = {}
    empty, reversed_, damaged = [], [], []
    for event in events:
        onset, offset = _seconds(event.onset), _seconds(event.offset)
        if onset is None or offset is None:
            if event.filename in known:
                damaged.append(event)
            continue
        if onset == offset:
            empty.append(event)
        if onset > offset:
            reversed_.append(event)
        if event.filename in known:
            label = labels.setdefault(event.filename, np.zeros((SEGMENTS, NUM_CLASSES), np.uint8))
            label[onset:offset, _CLASS_INDEX[event.label]] = 1
    if damaged:
        raise UserError(
            f"{path}: onset and offset must be whole seconds from 0 to {SEGMENTS}; "
            f"not so: {first_ten(damaged)}"
        )
    if 2 * len(reversed_) > len(events):
        raise UserError(
            f"{path}: onset is after offset in {len(reversed_)} of {len(events)} rows; see whether "
            "the two columns are exchanged"
        )
    unknown = [event for event in events if event.filename not in known]
    unknown_videos = dict.fromkeys(_shown(event.filename) for event in unknown)
    _note(summary, f"{path.name}: rows with onset = offset, no segment", empty)
    _note(summary, f"{path.name}: rows with onset > offset, no segment", reversed_)
    _note(summary, f"{path.name}: rows of videos in neither val nor test, left out", unknown)
    _note(summary, f"{path.name}: videos of those rows", list(unknown_videos))
    return labels


def _seconds(text: str) -> int | None:
    match = _SECONDS.fullmatch(text)
    seconds = int(match.group(1)) if match else SEGMENTS + 1
    return seconds if seconds <= SEGMENTS else None


def _refuse_unknown_classes(path: Path, names: list[str]) -> None:
    unknown = [_shown(name) for name in dict.fromkeys(names) if name not in _CLASS_INDEX]
    if unknown:
        raise UserError(
            f"{path}: unknown class names: {first_ten(unknown)}; LLP has {NUM_CLASSES} classes, "
            f"from {CLASSES[0]} to {CLASSES[-1]}"
        )


def _note(summary: dict[str, dict], oddity: str, found: list) -> None:
    if found:
        summary[oddity] = {"count": len(found), "examples": [str(item) for item in found[:10]]}


def _shown(text: str) -> str:
    """Text from a file for a one-line message: quoted where it is not plain, and cut."""
    text = text if len(text) <= 60 else text[:60] + "..."
    return text if text.isprintable() and text and text == text.strip() else ascii(text)
