"""Reads UnAV-100's annotations: events of 100 classes that are both heard and seen, in any video.

Source: Geng, Wang, Duan, Cong and Zheng, "Dense-Localizing Audio-Visual Events in Untrimmed Videos:
A Large-Scale Benchmark and Baseline", CVPR 2023, and github.com/ttgeng233/UnAV. The file
unav100_annotations.json is

  {"version": "unav100", "database": {"72f67ednp7w": {"duration": 47.68, "subset": "train",
   "annotations": [{"segment": [13.01, 15.78316], "label": "skateboarding", "label_id": 36}]}}}

Times are seconds. subset is train, validation or test. Files of this kind may also have "fps" (a
program multiplies segments by it to find frames of its features), which changes no time. Classes
are in the order of label_id.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

from avvp_jax.errors import UserError, cause, first_ten
from tfds_llp.own.cuts import SECOND, Event, LabelledClip, cut, microseconds
from tfds_llp.own.published import SPLITS, Published, check_names, read_text, remark

# As the published program does, in lower case.
_SUBSETS = {"train": "train", "training": "train", "validation": "val", "val": "val"}
_SUBSETS |= {"test": "test", "testing": "test"}
_LONGEST = 24 * 60 * 60 * SECOND
_WAY_OUT = "put UnAV-100's unav100_annotations.json there"


class _Videos:
    """Videos as they are read: events of each, and what is odd."""

    def __init__(self, path: Path):
        self.path, self.ids = path, {}  # label -> label_id
        self.empty, self.late, self.beyond = [], [], []

    def refuse(self, video: str, what: str):
        raise UserError(f"{self.path}: {video}: {what}; correct it, or restore the published file")

    def time(self, video: str, value: object, what: str) -> int:
        time = microseconds(value) if isinstance(value, Decimal) else None
        if time is None:
            self.refuse(video, f"{what} is {_shown(value)}, and no time in seconds")
        return time

    def length(self, video: str, entry: Mapping) -> int:
        length = self.time(video, entry.get("duration"), "duration")
        if not 0 < length <= _LONGEST:
            self.refuse(video, f"duration is {_shown(entry['duration'])} s, and no day of a video")
        return length

    def events(self, video: str, entry: Mapping, length: int) -> list[Event]:
        found, listed = [], entry.get("annotations")
        if not isinstance(listed, list):
            self.refuse(video, "annotations are no list")
        for number, given in enumerate(listed, 1):
            event = self.event(f"{video}, event {number}", given)
            if event.onset == event.offset:
                self.empty.append(video)
            elif event.onset >= length:
                self.late.append(video)
            else:
                if event.onset < 0 or event.offset > length:
                    self.beyond.append(video)
                found.append(event)
        return found

    def event(self, where: str, given: object) -> Event:
        segment = given.get("segment") if isinstance(given, dict) else None
        if not isinstance(segment, list) or len(segment) != 2:
            self.refuse(where, "has no segment of two times")
        onset, offset = (self.time(where, each, "a time of its segment") for each in segment)
        if onset > offset:
            self.refuse(where, f"ends at {segment[1]} s before it begins at {segment[0]} s")
        label, number = given.get("label"), given.get("label_id")
        if not isinstance(label, str) or not isinstance(number, Decimal) or number.is_nan():
            self.refuse(where, "has no label and label_id")
        before = self.ids.setdefault(label, number)
        if before != number:
            self.refuse(where, f"{label} has the label_id {number} here and {before} above")
        return Event(label, onset, offset)


def read_unav100(path: Path, segments: int, segment: int) -> Published:
    """UnAV-100, or another file in its format, as clips of so many segments.

    Args:
        segments, segment: of a clip; a segment's length in microseconds.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    database, read = _database(path), _Videos(path)
    splits: dict[str, list[LabelledClip]] = {split: [] for split in SPLITS}
    total = 0
    for video, entry in database.items():
        if not isinstance(entry, dict):
            read.refuse(video, "is no video with duration, subset and annotations")
        subset = _SUBSETS.get(str(entry.get("subset")).lower())
        if subset is None:
            read.refuse(
                video, f"subset is {_shown(entry.get('subset'))}; known: train, validation, test"
            )
        length = read.length(video, entry)
        events = read.events(video, entry, length)
        total += len(entry["annotations"])
        splits[subset] += cut(video, length, events, segments, segment)
    if 10 * len(read.late) > total:
        raise UserError(
            f"{path}: {len(read.late)} of {total} events begin behind the end of their video; "
            "segments must be in seconds, not in frames"
        )
    classes = sorted(read.ids, key=read.ids.get)
    if twice := [str(n) for n, count in Counter(read.ids.values()).items() if count > 1]:
        raise UserError(f"{path}: several labels have the same label_id: {first_ten(twice)}")
    check_names(path, database, classes)
    if not classes:
        raise UserError(f"{path}: has no event; {_WAY_OUT}")
    return Published(
        tuple(classes), {split: clips for split, clips in splits.items() if clips}, _remarks(read)
    )


def _remarks(read: _Videos) -> list[str]:
    return [
        *remark("events end where they begin, and are left out", read.empty),
        *remark("events begin behind the end of their video, and are left out", read.late),
        *remark("events go beyond their video, and are cut", read.beyond),
    ]


def _database(path: Path) -> dict[str, object]:
    """Name of a video -> what is known of it. Numbers are Decimals, as they are written."""
    text = read_text(path, _WAY_OUT)
    try:
        content = json.loads(
            text,
            object_pairs_hook=_named_once,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=Decimal,
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{path}: is no intact json ({cause(error)}); {_WAY_OUT}") from None
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict) or not database:
        raise UserError(f'{path}: has no videos under "database"; {_WAY_OUT}')
    return database


def _named_once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} stands there twice")
        found[name] = value
    return found


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)[:60]
