"""Reads a folder of one's own: classes, clips, splits and labels, after checking all of it.

DATA/classes.csv                  see avvp_jax/encoders/classes.py
DATA/{train,val,test}.csv         filename, event_labels[, start, end]
DATA/dense_{audio,visual}.csv     filename, onset, offset, event_labels
DATA/videos/NAME.mp4              or feats/, CLIP/, CLAP/
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import no_type_check

import numpy as np

from avvp_jax.encoders.classes import read_classes
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.names import normal
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.task import MOST_SEGMENTS, Task
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.own.clips import Clip, exact, stem_of, too_long
from tfds_llp.own.dense import FILES, Event, rasterised, read_events, refuse_beyond
from tfds_llp.own.files import files_in
from tfds_llp.own.splits import val_of
from tfds_llp.own.tables import Labels, Row, how_to_write, labels_in, read_rows, shown

CLASSES = "classes.csv"
SPLIT_FILES = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}
MOST_CLASSES = 1000
_LONGEST_CLASS = 200
_MOST_LABELS = 1 << 31  # bytes of dense labels


@dataclass(frozen=True)
class OwnData:
    """A folder that has been read and checked.

    Attributes:
      folder: that it was read from.
      task: its classes, and what a clip is.
      teachers: by modality, with the prompts and thresholds of classes.csv.
      splits: train, val and maybe test; ids and filenames are names of clips, `lengths` is None,
        and `dense` is an array for val and test. See `with_lengths`.
      clips: by name.
      remarks: oddities that were taken as they are, a line each.
      events: by clip, the rows of dense labels.
    """

    folder: Path
    task: Task
    teachers: Mapping[str, Teacher]
    splits: Mapping[str, AnnotatedVideos]
    clips: Mapping[str, Clip]
    remarks: Sequence[str]
    events: Mapping[str, Sequence[Event]] = field(default_factory=dict)


@no_type_check  # it refuses wrong arguments itself, in words for users
def read_own(
    folder: Path, segments: int, seconds: float, val_share: float, split_seed: int
) -> OwnData:
    """Reads a folder of one's own.

    Args:
      folder: DATA.
      segments: of a clip, at most.
      seconds: how long a segment is.
      val_share: of train.csv's clips that become val, if there is no val.csv.
      split_seed: which of them.

    Raises:
      UserError: a file or an argument cannot be used.
    """
    _check_arguments(segments, seconds, val_share)
    folder = Path(folder).expanduser()
    tables = _tables(folder)
    classes, teachers = _classes(folder, tables)
    task = Task("Own data", classes, int(segments), seconds)
    labels = Labels(folder / CLASSES, classes)
    known = files_in(folder).names
    rows = {split: read_rows(path, labels, known) for split, path in tables.items()}
    if not any(row.classes for row in rows["train"]):
        raise UserError(f"{tables['train']}: no clip has a label; write what occurs in each")
    clips = _clips(folder, rows, task)
    events, remarks = read_events(folder, clips, labels, task)
    if "val" not in rows:
        rows = _with_val(rows, len(classes), val_share, split_seed, tables["train"])
    remarks = [*_remarks(tables, rows, events, task), *remarks]
    splits = {
        split: _annotated(rows[split], events, task, dense=split != "train")
        for split in SPLIT_FILES
        if split in rows
    }
    return OwnData(folder, task, teachers, splits, clips, remarks, events)


def with_lengths(own: OwnData, lengths: Mapping[str, int]) -> OwnData:
    """The same data, where clips have as many segments as their features.

    An event that is only in what a clip's last segment lacks is in the segment before.

    Args:
      own: what was read.
      lengths: clip -> its segments, at least 1 and at most the task's. Clips that are not in it
        are left out of the splits.

    Raises:
      UserError: an event is beyond the end of its clip.
    """
    seconds = exact(own.task.seconds)
    for name in own.events.keys() & lengths.keys():
        # A length is rounded, so that the clip may be half a segment longer.
        end = (lengths[name] + Fraction(1, 2)) * seconds
        refuse_beyond(own.folder, name, own.events[name], end, slack=seconds / 2)
    splits = {}
    for split, everything in own.splits.items():
        videos = everything.keep([name in lengths for name in everything.ids])
        counts = np.array([lengths[name] for name in videos.ids], np.int64)
        of_task = counts.size and (counts == own.task.segments).all()
        marked = None if of_task else counts
        audio, visual = videos.audio_label, videos.visual_label  # copies, made by keep
        for row in np.flatnonzero(videos.dense) if videos.dense is not None else ():
            made = rasterised(own.events[videos.ids[row]], own.task, int(counts[row]))
            audio[row], visual[row] = made["audio"], made["visual"]
        splits[split] = dataclasses.replace(
            videos, audio_label=audio, visual_label=visual, lengths=marked
        )
    return dataclasses.replace(own, splits=splits)


@no_type_check  # as above
def _check_arguments(segments: int, seconds: float, val_share: float) -> None:
    whole = not isinstance(segments, bool) and isinstance(segments, int | np.integer)
    if not whole or not 1 <= segments <= MOST_SEGMENTS:
        raise UserError(
            f"config.data.segments={segments}: a clip has 1 to {MOST_SEGMENTS} segments"
        )
    if not 0.001 <= seconds < 1e6:  # neither does NaN lie there
        raise UserError(
            f"config.data.segment_seconds={seconds}: give how long a segment is, in seconds, from "
            "0.001"
        )
    if not 0 < val_share < 1:
        raise UserError(
            f"config.data.val_share={val_share}: give the share of train.csv that becomes val, "
            "between 0 and 1"
        )


def _tables(folder: Path) -> dict[str, Path]:
    """The tables of the splits that there are."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {dead_link(folder) or 'is no folder'}; name the folder of your data with "
            "--config.data.manual_dir=DATA"
        )
    paths = {split: folder / name for split, name in SPLIT_FILES.items()}
    there = {split: path for split, path in paths.items() if os.path.lexists(path)}
    if "train" not in there:
        raise UserError(
            f"{paths['train']}: is missing; write a header of filename, event_labels and a row for "
            "each video"
        )
    return there


def _classes(
    folder: Path, tables: Mapping[str, Path]
) -> tuple[tuple[str, ...], dict[str, Teacher]]:
    path = folder / CLASSES
    if not os.path.lexists(path):
        labels = [label for table in tables.values() for label in labels_in(table)]
        if not labels:
            raise UserError(f"{path}: is missing, and train.csv names no label; write it")
        raise UserError(f"{path}: is missing; {how_to_write(path, labels)}")
    names, teachers = read_classes(os.fspath(path))
    if len(names) > MOST_CLASSES:
        raise UserError(
            f"{path}: names {len(names)} classes; {MOST_CLASSES} are the limit, so leave out those "
            "that you do not need"
        )
    if long := [shown(name) for name in names if len(name) > _LONGEST_CLASS]:
        raise UserError(
            f"{path}: names with more than {_LONGEST_CLASS} letters: {first_ten(long)}; shorten "
            "them, and describe the class in its prompts"
        )
    return tuple(map(normal, names)), teachers


def _clips(folder: Path, rows: Mapping[str, Sequence[Row]], task: Task) -> dict[str, Clip]:
    """The clips of all splits by name."""
    everything = [row.clip for split in rows.values() for row in split]
    counts = Counter(clip.name for clip in everything)
    if repeated := [name for name, count in counts.items() if count > 1]:
        files = ", ".join(SPLIT_FILES[split] for split in rows)
        raise UserError(
            f"{folder}: clips named more than once in {files}: {first_ten(repeated)}; leave one "
            "row of each"
        )
    if long := [clip.name for clip in everything if too_long(clip, task)]:
        raise UserError(
            f"{folder}: clips longer than the {task.duration:g} s of the task: {first_ten(long)}; "
            "cut them into shorter ones, as python -m tfds_llp.convert does, or raise "
            f"config.data.segments (at most {MOST_SEGMENTS}) or config.data.segment_seconds"
        )
    if len(everything) * task.segments * len(task.classes) > _MOST_LABELS:
        raise UserError(
            f"{folder}: {len(everything)} clips of {task.segments} segments and "
            f"{len(task.classes)} classes are more than fit into memory; name fewer"
        )
    return {clip.name: clip for clip in everything}


def _with_val(
    rows: dict[str, list[Row]], classes: int, share: float, seed: int, table: Path
) -> dict[str, list[Row]]:
    groups: dict[str, list[tuple[int, ...]]] = {}
    for row in rows["train"]:
        groups.setdefault(stem_of(row.clip), []).append(row.classes)
    val = val_of(groups, classes, share, seed, table)
    halves = {
        "train": [row for row in rows["train"] if stem_of(row.clip) not in val],
        "val": [row for row in rows["train"] if stem_of(row.clip) in val],
    }
    return rows | halves


def _remarks(
    tables: Mapping[str, Path],
    rows: Mapping[str, Sequence[Row]],
    events: Mapping[str, Sequence[Event]],
    task: Task,
) -> list[str]:
    """Oddities of clips and their labels, counted."""
    remarks = []
    if "val" not in tables:
        remarks.append(
            f"there is no val.csv: {len(rows['val'])} of train.csv's "
            f"{len(rows['val']) + len(rows['train'])} clips are val"
        )
    for split, of_split in rows.items():
        if nothing := [row.clip.name for row in of_split if not row.classes]:
            remarks.append(f"{split}: clips in which nothing occurs: {_counted(nothing)}")
    classes = {row.clip.name: row.classes for split in rows.values() for row in split}
    for modality, file in FILES.items():
        if lacking := [
            f"{task.classes[label]} in {name}"
            for name, of_clip in events.items()
            for event in of_clip
            for label in event.classes
            if event.modality == modality and label not in classes[name]
        ]:
            remarks.append(f"{file}: events of labels that event_labels lacks: {_counted(lacking)}")
    if unused := [row.clip.name for row in rows["train"] if row.clip.name in events]:
        remarks.append(f"dense labels of clips in train are not used: {_counted(unused)}")
    return remarks


def _counted(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} ({', '.join(names[:3])}{more})"


def _annotated(
    rows: Sequence[Row], events: Mapping[str, Sequence[Event]], task: Task, dense: bool
) -> AnnotatedVideos:
    names, shape = [row.clip.name for row in rows], (task.segments, len(task.classes))
    weak = np.zeros((len(rows), len(task.classes)), np.uint8)
    audio, visual = (np.zeros((len(rows), *shape), np.uint8) for _ in range(2))
    for place, row in enumerate(rows):
        weak[place, list(row.classes)] = 1
        if dense and row.clip.name in events:
            segments = task.segments_in(row.clip.seconds or Fraction(task.duration))
            labels = rasterised(events[row.clip.name], task, segments)
            audio[place], visual[place] = labels["audio"], labels["visual"]
    return AnnotatedVideos(
        names,
        list(names),
        weak,
        audio,
        visual,
        csv_row=np.array([row.number for row in rows], np.int64),
        dense=np.array([name in events for name in names], bool) if dense else None,
    )
