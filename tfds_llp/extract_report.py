"""The report of an extraction: what became of each video and stream, and how files were made."""

import contextlib
import csv
import glob
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from avvp_jax.encoders.clap_sound import SAMPLES
from avvp_jax.encoders.extractor import SOURCES, Extractor, encoder_of, logits_stream
from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.media.frames import PUBLISHED
from avvp_jax.media.sound import RATE as PUBLISHED_RATE
from avvp_jax.media.windows import Window
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import Journal, write_whole
from avvp_jax.streams import Stream
from avvp_jax.task import Task

NAME, SETTINGS = "extract_report.csv", "extract_settings.json"
MADE, KEPT, FAILED = "made", "kept", "failed"
_LARGEST = 1 << 30


class Row(NamedTuple):
    """What became of one stream of one video.

    Attributes:
      id: of the video.
      stream: name of the stream.
      status: MADE, KEPT (the file was there, and nobody knows how it was made) or FAILED.
      reason: why it failed, or what is odd about it.
      picture_seconds, sound_seconds: what the video holds of each; empty if unknown.
    """

    id: str
    stream: str
    status: str
    reason: str = ""
    picture_seconds: str = ""
    sound_seconds: str = ""


class Report:
    """The rows of DATA/extract_report.csv, and those of a command that is not finished.

    A row is noted before its file is written. So a file without a row was not made here.

    Args:
      folder: DATA.
      how: name of a stream -> what its features depend on, which is recorded too.

    Raises:
      UserError: the folder's features were made in another way, or the report is damaged.
    """

    def __init__(self, folder: str, how: Mapping[str, Mapping[str, object]]):
        self.path = os.path.join(folder, NAME)
        self.rows: dict[tuple[str, str], Row] = {}
        for row in [*_read(self.path), *_unfinished(folder)]:
            self.rows[row.id, row.stream] = row
        self._folder, self._how = folder, _settings(folder)
        _refuse_others(folder, self._how, how, self.rows.values())
        self._how |= {name: dict(each) for name, each in how.items()}

    def begin(self) -> None:
        """Records how features are made. All processes call this once they have read what is there.

        Journals of before end here: one that no process of now writes would count as the newest.

        Raises:
          UserError: the folder cannot be written. So do `add` and `close`.
        """
        if processes.first():
            content = json.dumps(self._how, indent=2, sort_keys=True) + "\n"
            path = os.path.join(self._folder, SETTINGS)
            with _writing(path):
                write_whole(path, content.encode())
            self.close()
        processes.meet()
        journal = os.path.join(self._folder, f".{NAME}.{processes.index()}.journal")
        self._journal = Journal(journal)

    def add(self, rows: Iterable[Row]) -> None:
        """Notes rows, which replace those of before."""
        for row in rows:
            if self.rows.get((row.id, row.stream)) != row:
                self.rows[row.id, row.stream] = row
                with _writing(self.path):
                    self._journal.add(json.dumps(row))

    def close(self) -> None:
        """Writes the report of all processes; the journals are not needed any more."""
        for row in _unfinished(self._folder):
            self.rows[row.id, row.stream] = row
        text = "".join(map(_line, [Row._fields, *sorted(self.rows.values())]))
        with _writing(self.path):
            # Names of files need not be text; they are written as they are.
            write_whole(self.path, text.encode(errors="surrogateescape"))
            for path in _journals(self._folder):
                os.remove(path)

    def failed(self) -> list[Row]:
        """The rows of what failed, in order."""
        return sorted(row for row in self.rows.values() if row.status == FAILED)


def refuse_made_otherwise(
    folder: str, streams: Iterable[str], task: Task, fidelity: str, ids: Collection[str]
) -> None:
    """Checks features that a folder has, where none are to be made: were they for these clips?

    Weights are not looked at, since none are needed.

    Args:
      folder: DATA.
      streams: names of those that are used.
      task, fidelity: of now.
      ids: of the videos that are used.

    Raises:
      UserError: features were made in another way, or the report is damaged.
    """
    rows = [*_read(os.path.join(folder, NAME)), *_unfinished(folder)]
    settings, now = _settings(folder), _how_cut(task, fidelity)
    before = {x: {key: settings[x].get(key) for key in now} for x in streams if x in settings}
    _refuse_others(folder, before, dict.fromkeys(before, now), [x for x in rows if x.id in ids])


def _refuse_others(
    folder: str,
    before: Mapping[str, Mapping[str, object]],
    now: Mapping[str, Mapping[str, object]],
    rows: Iterable[Row],
) -> None:
    """Checks that no features were made here in another way than now."""
    made = {row.stream for row in rows if row.status == MADE}
    for name in (name for name in now if name in made):
        was, is_now = before.get(name, now[name]), now[name]
        changed = [key for key in {*was, *is_now} if was.get(key) != is_now.get(key)]
        if changed:
            values = [f"{x}={was.get(x)} and not {is_now.get(x)}" for x in sorted(changed)]
            also = " and their segment_pseudo_labels" if name not in SOURCES else ""
            raise UserError(
                f"{folder}: its features of {name} were made with {first_ten(values)}; "
                f"choose another folder, or remove them{also} with their rows in {NAME}"
            )


def judge(
    stream: Stream, task: Task, window: Window, made: np.ndarray | None, fidelity: str
) -> tuple[str, str]:
    """Whether the features of a stream can be used, and why not or what is odd about them."""
    picture, sound = window.found
    source = SOURCES[encoder_of(stream.name)]
    of_sound = source.view is None
    what, seconds = ("sound", sound) if of_sound else ("picture", picture)
    duration, slack, published = task.duration, task.seconds / 2, fidelity == PUBLISHED
    if not seconds:
        return FAILED, f"has no {what}"
    if source.rate == PUBLISHED_RATE and of_sound and published and not picture:
        return FAILED, "has no picture, without which the published program reads no sound"
    rows = 0 if made is None else len(made)
    if not rows and encoder_of(stream.name) == "clap":
        longest = task.segments * SAMPLES / source.rate
        return FAILED, (
            f"has {seconds:.2f} s of sound; of more than {longest:g} s CLAP would take parts of "
            "segments at random (its fusion): cut it into clips"
        )
    if rows not in (stream.rows(task), task.segments):
        needed = f"it takes {duration - 0.025:g} s of it for {stream.rows(task)}"
        return FAILED, f"has {seconds:.2f} s of {what}, enough for {rows} rows; {needed}"
    if seconds < duration - slack and not published:
        return FAILED, f"has {seconds:.2f} s of {what}; a clip has {duration:g} s"
    notes = [text for text in window.missing if text.startswith("is cut off")]
    if seconds < duration - slack:
        notes.append(f"has {seconds:.2f} s of {what}, of which {rows} rows were made all the same")
    elif seconds > duration + slack:
        spread = published and not (of_sound and source.rate == PUBLISHED_RATE)
        spread = spread and window.segments is None
        of = "all of it" if spread else f"its first {duration:g} s"
        notes.append(f"has {seconds:.2f} s of {what}; the features are of {of}")
    return MADE, "; ".join(notes)


def how_made(stream: str, extractor: Extractor, fidelity: str) -> dict[str, object]:
    """What the features of a stream depend on."""
    task, sha256 = extractor.task, extractor.weights.get(stream)
    how = _how_cut(task, fidelity)
    if sha256 is not None:
        dtype, precision = extractor.arithmetic
        how |= {"weights": sha256, "dtype": dtype, "precision": precision}
    for teacher in extractor.teachers.values():
        if logits_stream(teacher).name == stream:
            text = json.dumps(teacher.prompts).encode()
            how["prompts"] = hashlib.sha256(text).hexdigest()[:16]
    return how


def _how_cut(task: Task, fidelity: str) -> dict[str, object]:
    return {"fidelity": fidelity, "segments": task.segments, "seconds": task.seconds}


def _journals(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), f".{NAME}.*.journal")))


def _unfinished(folder: str) -> list[Row]:
    """The rows in journals; half a line at an end is of a process that was killed."""
    found = []
    for path in _journals(folder):
        with _refusing(path):
            found += [_row(json.loads(line)) for line in _content(path).split("\n")[:-1]]
    return found


def _read(path: str) -> list[Row]:
    if not os.path.lexists(path):
        return []
    with _refusing(path):
        head, *rows = csv.reader(io.StringIO(_content(path), newline=""), strict=True)
        if tuple(head) != Row._fields:
            raise ValueError("other columns")
        return [_row(row) for row in rows]


def _line(row: Iterable[str]) -> str:
    """A line of the report. Python quotes a carriage return only where it ends lines."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _row(cells: list) -> Row:
    row = Row(*cells)
    if not all(isinstance(cell, str) for cell in row) or row.status not in (MADE, KEPT, FAILED):
        raise ValueError("no row of a report")
    return row


def _settings(folder: str) -> dict[str, dict]:
    path = os.path.join(folder, SETTINGS)
    if not os.path.lexists(path):
        return {}
    with _refusing(path):
        found = json.loads(_content(path))
        if not isinstance(found, dict) or not all(isinstance(x, dict) for x in found.values()):
            raise ValueError("no settings")
        return found


def _content(path: str) -> str:
    if not os.path.isfile(path) or os.path.getsize(path) > _LARGEST:
        raise ValueError("is no file of this program")
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
        raise UserError(
            f"{path}: damaged ({cause(error)}); put a copy back, or remove it: features stay, and "
            "count as made elsewhere"
        ) from None


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_be_written(path, error) from error


def cannot_be_written(path: str, error: OSError) -> UserError:
    return UserError(
        f"{path}: cannot be written ({cause(error)}); make room or mend the rights there, then "
        "start the same command again"
    )
