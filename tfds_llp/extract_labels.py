"""Labels of segments from the logits that an extraction left: VALOR's pseudo labels."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from avvp_jax.encoders.teachers import Teacher, elaborate
from avvp_jax.errors import UserError, one_line
from avvp_jax.runtime import processes
from avvp_jax.storage.feature_files import read_numbers
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.storage.writing import write_array
from avvp_jax.streams import PSEUDO_LABELS, SEGMENT_LOGITS
from avvp_jax.task import LLP, Task
from tfds_llp.annotations import read_annotations
from tfds_llp.extract_report import cannot_be_written
from tfds_llp.folder import annotations_in

WeakLabels = Mapping[str, UInt8[np.ndarray, " classes"]]


def weak_labels(data: str) -> WeakLabels | None:
    """The weak label of each video by its ID, and by ID_START_END; None without annotation files.

    Raises:
      UserError: they are damaged, or not all there.
    """
    files = annotations_in(Path(data))
    if files is None:
        return None
    found = {}
    for split in read_annotations(files, LLP).splits.values():
        found |= dict(zip(split.filenames, split.weak_label, strict=True))
        found |= dict(zip(split.ids, split.weak_label, strict=True))
    return found


def label_annotated(
    data: str,
    named: Iterable[str],
    mine: Iterable[str],
    teachers: Mapping[str, Teacher],
    task: Task,
) -> list[str]:
    """Writes the labels that are not there yet of videos whose logits are, by their weak labels.

    Args:
      data: holds logits and, maybe, LLP's annotation files.
      named: all videos.
      mine: those whose labels this process of the run writes.

    Returns:
      What to say of videos without labels, in lines; the first process says it.

    Raises:
      UserError: annotations or logits are damaged, or labels cannot be written.
    """
    if not teachers:
        return []
    weak = weak_labels(data)
    if weak is None:
        lines = [
            f"{data}: has no AVVP_*.csv files, so no segment_pseudo_labels were made of "
            "segment_logits; put them there and start the command again"
        ]
        return lines if processes.first() else []
    lines = []
    for teacher in teachers.values():
        for name in mine:
            if name in weak and not os.path.lexists(labels_path(data, teacher, name)):
                label(data, name, teacher, task, weak[name])
    if unknown := [name for name in named if name not in weak]:
        first = one_line(unknown[0])
        lines.append(
            f"{data}: {len(unknown)} videos are in no annotation file and have no "
            f"segment_pseudo_labels, {first} the first of them"
        )
    return lines if processes.first() else []


def label(
    data: str,
    name: str,
    teacher: Teacher,
    task: Task,
    weak: UInt8[np.ndarray, " classes"],
    short: bool = False,
) -> None:
    """Writes the labels of one video, int64 [segments, classes]; nothing if it has no logits."""
    logits = read_logits(data, name, teacher, task, short)
    if logits is None:
        return
    path = labels_path(data, teacher, name)
    labels = elaborate(logits, weak, teacher.thresholds).astype(np.int64)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_array(path, labels)
    except OSError as error:
        raise cannot_be_written(path, error) from error


def read_logits(
    data: str, name: str, teacher: Teacher, task: Task, short: bool = False
) -> np.ndarray | None:
    """The logits [segments, classes] of a video; None if there are none.

    Args:
      short: whether it may have fewer segments than the task.

    Raises:
      UserError: the file is damaged.
    """
    path = os.path.join(data, SEGMENT_LOGITS[teacher.modality], f"{name}.npy")
    if not os.path.lexists(path):
        return None
    try:
        segments = None if short else task.segments
        return read_numbers(Path(path), (segments, len(teacher.prompts)), task.segments)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; remove it and start the command again") from None


def labels_path(data: str, teacher: Teacher, name: str) -> str:
    return os.path.join(data, PSEUDO_LABELS[teacher.modality], f"{name}.npy")
