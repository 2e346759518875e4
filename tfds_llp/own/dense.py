"""Dense labels: rows of onset, offset and labels, and which segments of a clip they make active."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from avvp_jax.errors import UserError, first_ten
from avvp_jax.task import MODALITIES, Task
from tfds_llp.csv_tables import read_table
from tfds_llp.own.clips import Clip, exact, name_in_table, same_clip, time_of
from tfds_llp.own.tables import Labels, shown

COLUMNS = ("filename", "onset", "offset", "event_labels")
FILES = {modality: f"dense_{modality}.csv" for modality in MODALITIES}
_WAY_OUT = f"write a header of {', '.join(COLUMNS)} and a row for each event, or leave the file out"


@dataclass(frozen=True)
class Event:
    """What is heard or seen in a part of a clip.

    Attributes:
      modality: "audio" or "visual".
      onset, offset: in seconds from the clip's start.
      classes: indices; none says that the clip is densely labelled, and nothing more.
    """

    modality: str
    onset: Fraction
    offset: Fraction
    classes: tuple[int, ...]

    @property
    def times(self) -> str:
        return f"({float(self.onset):g}, {float(self.offset):g})"


def active(onset: Rational, offset: Rational, seconds: Rational, segments: int) -> range:
    """The segments of a clip that an event is in.

    It is in those that it covers half of at least; if there is none, in the one it covers most, of
    equals the first, and if it lies behind all, in the last.

    Args:
      onset, offset: of the event, in seconds of the clip, or another unit of time.
      seconds: how long a segment is, in that unit.
      segments: how many the clip has.
    """
    first = min(max(math.floor(onset / seconds), 0), segments - 1)
    last = min(max(math.ceil(offset / seconds) - 1, first), segments - 1)
    covered = {
        segment: min(offset, (segment + 1) * seconds) - max(onset, segment * seconds)
        for segment in range(first, last + 1)
    }
    if half := [segment for segment, part in covered.items() if 2 * part >= seconds]:
        return range(half[0], half[-1] + 1)
    most = max(covered, key=covered.get)
    return range(most, most + 1)


def read_events(
    folder: Path, clips: Mapping[str, Clip], labels: Labels, task: Task
) -> tuple[dict[str, tuple[Event, ...]], list[str]]:
    """Reads the files of dense labels that there are.

    Args:
      folder: that they are in.
      clips: by name.
      labels: reads lists of labels.
      task: what a clip is.

    Returns:
      By clip its events, and remarks.

    Raises:
      UserError: a file cannot be used, or a time is none, or beyond its clip.
    """
    found: dict[str, list[Event]] = {}
    by_name = {same_clip(name): name for name in clips} | {name: name for name in clips}
    videos = {clip.video for clip in clips.values() if clip.name != clip.video}
    remarks = []
    for modality, file in FILES.items():
        if not os.path.lexists(path := folder / file):
            continue
        rows = read_table(path, COLUMNS, blank=COLUMNS[1:], way_out=_WAY_OUT)
        lists = labels.of(path, [row[3] for row in rows])
        unknown, wrong, parts = [], [], []
        for (text, onset, offset, _), classes in zip(rows, lists, strict=True):
            in_table = name_in_table(text)
            name = by_name.get(in_table) or by_name.get(same_clip(in_table))
            if name is None:
                unknown.append(shown(text))
                parts += [shown(text)] * (in_table in videos)
                continue
            event = _event(modality, onset, offset, classes)
            if event is None:
                wrong.append(f"{shown(text)} ({shown(onset)}, {shown(offset)})")
            else:
                found.setdefault(name, []).append(event)
        _refuse(path, wrong, parts, known=len(unknown) < len(rows))
        if unknown:
            named = list(dict.fromkeys(unknown))
            remarks.append(
                f"{file}: {len(unknown)} rows are of clips in none of the splits, and "
                f"are left out: {first_ten(named)}"
            )
    remarks += [
        f"there is no {file}: in the clips of the other file of dense labels, nothing counts as "
        f"{'heard' if modality == 'audio' else 'seen'}"
        for modality, file in FILES.items()
        if found and not os.path.lexists(folder / file)
    ]
    for name, events in found.items():
        length = clips[name].seconds or Fraction(task.duration)
        refuse_beyond(folder, name, events, length, exact(task.seconds) / 2)
    return {name: tuple(events) for name, events in found.items()}, remarks


def _event(modality: str, onset: str, offset: str, classes: tuple[int, ...]) -> Event | None:
    """The event of a row; None if its times are none."""
    if not classes and not onset and not offset:
        return Event(modality, Fraction(0), Fraction(0), ())
    start, end = time_of(onset), time_of(offset)
    if start is None or end is None or start >= end:
        return None
    return Event(modality, start, end, classes)


def _refuse(path: Path, wrong: list[str], parts: list[str], known: bool) -> None:
    if wrong:
        raise UserError(
            f"{path}: onset and offset must be seconds from the clip's start, and the onset less "
            f"than the offset; not so: {first_ten(wrong)}"
        )
    if parts:
        raise UserError(
            f"{path}: {first_ten(list(dict.fromkeys(parts)))} is cut into clips; name the clip as "
            "NAME_START_END, and give times from its start"
        )
    if not known:
        raise UserError(
            f"{path}: no row is of a clip in train.csv, val.csv or test.csv; name clips as there"
        )


def refuse_beyond(
    folder: Path, name: str, events: Iterable[Event], length: Fraction, slack: Fraction
) -> None:
    """Checks that a clip's events are within the clip.

    Raises:
      UserError: one begins at its end or later, or ends more than `slack` behind it.
    """
    for event in events:
        if event.classes and (event.onset >= length or event.offset > length + slack):
            raise UserError(
                f"{folder / FILES[event.modality]}: {shown(name)} {event.times} is beyond the "
                f"{float(length):g} s of the clip that are used; give seconds from its start"
            )


def rasterised(
    events: Sequence[Event], task: Task, segments: int
) -> dict[str, UInt8[np.ndarray, "segments classes"]]:
    """By modality, the labels of all of the task's segments; a clip may have fewer."""
    labels = {
        modality: np.zeros((task.segments, len(task.classes)), np.uint8) for modality in MODALITIES
    }
    seconds = exact(task.seconds)
    for event in events:
        if event.classes:
            rows = active(event.onset, event.offset, seconds, segments)
            labels[event.modality][rows.start : rows.stop, list(event.classes)] = 1
    return labels
