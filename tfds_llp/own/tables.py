"""Tables of clips and their labels: train.csv, val.csv and test.csv."""

import csv
import difflib
import io
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.names import no_name, normal
from tfds_llp.csv_tables import read_table
from tfds_llp.own.clips import Clip, clip_named, cut, name_in_table, time_of

COLUMNS = ("filename", "event_labels")
TIMES = ("start", "end")
_WAY_OUT = f"write a header of {', '.join(COLUMNS)} and a row for each clip"
_LONGEST_COMMAND = 1500


@dataclass(frozen=True)
class Row:
    """A row of a split's table: its place below the header line from 0, its clip and classes."""

    number: int
    clip: Clip
    classes: tuple[int, ...]


class Labels:
    """Reads lists of labels: names of classes, apart by commas.

    A name may have commas itself: of all readings, the one with the longest first name counts.

    Args:
      path: the file that names the classes, for messages.
      classes: their names.
    """

    def __init__(self, path: Path, classes: Sequence[str]):
        self._path, self._classes = path, classes
        self._places: dict[str, int] = {}
        for place, name in enumerate(classes):
            if self._places.setdefault(_key(name.split(",")), place) != place:
                raise UserError(f"{path}: names {shown(name)} twice but for spaces or accents")
        self._most_parts = max(name.count(",") + 1 for name in classes)

    def of(self, path: Path, lists: Sequence[str]) -> list[tuple[int, ...]]:
        """The classes of each list, in the list's order, each once.

        Raises:
          UserError: a label is no class.
        """
        unknown: dict[str, None] = {}
        read = {text: self._read(text, unknown) for text in dict.fromkeys(lists)}
        if unknown:
            named = [f"{shown(label)}{self._nearest(label)}" for label in list(unknown)[:10]]
            more = [""] * (len(unknown) - len(named))
            raise UserError(
                f"{path}: labels that {self._path.name} lacks: {first_ten(named + more)}; correct "
                f"them, or add them to {self._path}"
            )
        return [read[text] for text in lists]

    def _read(self, text: str, unknown: dict[str, None]) -> tuple[int, ...]:
        parts = text.split(",") if text.strip(' ,"') else []
        found: dict[int, None] = {}
        while parts:
            for count in range(min(self._most_parts, len(parts)), 0, -1):
                if (place := self._places.get(_key(parts[:count]))) is not None:
                    found[place] = None
                    break
            else:
                if name := parts[0].strip():  # nothing between two commas says nothing
                    unknown[name] = None
            parts = parts[count:]
        return tuple(found)

    def _nearest(self, label: str) -> str:
        lower = {name.lower(): name for name in self._classes}
        near = difflib.get_close_matches(label.lower()[:100], lower, 1, 0.6)
        return f" (nearest: {shown(lower[near[0]])})" if near else ""


def labels_in(path: Path) -> list[str]:
    """The labels in a split's table, as they stand there."""
    rows = read_table(path, COLUMNS, optional=TIMES, blank=COLUMNS[1:], way_out=_WAY_OUT)
    return [label.strip() for _, listed, *_ in rows for label in listed.split(",") if label.strip()]


def how_to_write(path: Path, labels: Collection[str]) -> str:
    """How classes.csv is written, if classes are the labels that were found."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[label] for label in sorted(set(labels))])
    lines = text.getvalue().splitlines()
    command = f"printf '%s\\n' name {shlex.join(lines)} > {shlex.quote(str(path))}"
    if len(command) > _LONGEST_COMMAND or not command.isprintable():
        return (
            f"write it with the line name, and below it the labels of train.csv, one a line: "
            f"{first_ten([shown(line) for line in lines])}"
        )
    return f"write it, with prompts beside the names if you like; for the labels found: {command}"


def read_rows(path: Path, labels: Labels, known: Collection[str]) -> list[Row]:
    """Reads the clips of a split.

    Args:
      path: of the table.
      labels: reads lists of labels.
      known: names of videos, or of features where there are no videos.

    Raises:
      UserError: it cannot be used, or a name, a time or a label in it.
    """
    rows = read_table(path, COLUMNS, optional=TIMES, blank=COLUMNS[1:], way_out=_WAY_OUT)
    _refuse_names(path, [name_in_table(row[0]) for row in rows])
    lists = labels.of(path, [row[1] for row in rows])
    clips, wrong = [], []
    for text, _, start, end in rows:
        clip = _clip(name_in_table(text), start, end, known)
        if clip is None:
            wrong.append(f"{shown(text)} ({shown(start)}, {shown(end)})")
        else:
            clips.append(clip)
    if wrong:
        raise UserError(
            f"{path}: start and end must both be given, in seconds, and the start less than the "
            f"end; not so: {first_ten(wrong)}"
        )
    _refuse_names(path, [clip.name for clip in clips])
    return [Row(*each) for each in zip(range(len(clips)), clips, lists, strict=True)]


def _clip(name: str, start: str, end: str, known: Collection[str]) -> Clip | None:
    """The clip of a row; None if its times are none."""
    if start or end:
        times = time_of(start), time_of(end)
        found = cut(name, *times) if None not in times else None
    else:
        found = clip_named(name, known)
    ends = found.span if found else (Fraction(0), Fraction(0))
    return found if ends[1] is None or ends[0] < ends[1] else None


def _refuse_names(path: Path, names: Sequence[str]) -> None:
    if wrong := [f"{shown(name)} {why}" for name in names if (why := no_name(name))]:
        raise UserError(
            f"{path}: filename must be the name of a video file, without its folder; not so: "
            f"{first_ten(wrong)}"
        )


def _key(parts: Sequence[str]) -> str:
    return normal(",".join(" ".join(part.split()) for part in parts))


def shown(text: str) -> str:
    """Text from a file for a one-line message: shortened, and quoted if it is not plain."""
    text = text if len(text) <= 60 else text[:60] + "..."
    return text if text.isprintable() and text and text == text.strip() else ascii(text)
