"""Labels of segments by teachers of any classes: thresholds, and the labels that they give."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from avvp_jax.encoders.classes import PRIOR, classes_text
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.errors import UserError
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import write_whole
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import Task
from tfds_llp.extract_labels import WeakLabels, label, read_logits
from tfds_llp.extract_report import cannot_be_written

TAUGHT = "taught_classes.csv"


def teach_segments(
    data: str,
    named: Iterable[str],
    weak: WeakLabels,
    names: Sequence[str],
    teachers: Mapping[str, Teacher],
    task: Task,
    prior: float = PRIOR,
    short: bool = False,
) -> str:
    """Finds thresholds that are not known, and writes the labels of videos.

    Args:
      data: holds the logits of videos.
      named: the videos whose logits thresholds are found from.
      weak: the weak labels of those that this process of the run labels.
      names: of the classes.
      teachers, task: of these.
      prior: see with_thresholds.
      short: whether clips may have fewer segments than the task.

    Returns:
      The path of the file with the thresholds that were used.

    Raises:
      UserError: logits are damaged, or a file cannot be written.
    """
    named = list(named)
    processes.meet()  # thresholds are of the logits of all
    found = {
        modality: with_thresholds(data, named, teacher, task, prior, short)
        for modality, teacher in teachers.items()
    }
    path = os.path.join(data, TAUGHT)
    if processes.first():  # before labels: it says whose they are
        try:
            write_whole(path, classes_text(names, found).encode())
        except OSError as error:
            raise cannot_be_written(path, error) from error
    processes.meet()
    for teacher in found.values():
        for video, classes in weak.items():
            label(data, video, teacher, task, classes, short)
    return path


def refuse_others(data: str, way_out: str = "choose another folder for --out") -> None:
    """Checks that labels in a folder, if there are any, were made by teach_segments.

    Raises:
      UserError: they are not, as VALOR's.
    """
    if os.path.lexists(os.path.join(data, TAUGHT)):
        return
    for folder in (os.path.join(data, each) for each in PSEUDO_LABELS.values()):
        if os.path.isdir(folder) and any(name.endswith(".npy") for name in os.listdir(folder)):
            raise UserError(f"{folder}: holds labels that were made otherwise; {way_out}")


def with_thresholds(
    data: str, named: Iterable[str], teacher: Teacher, task: Task, prior: float, short: bool = False
) -> Teacher:
    """A teacher whose unknown thresholds are quantiles of its logits of all segments.

    Args:
      data: holds the logits of videos.
      named: the videos; those without logits do not count.
      prior: the share of segments above a threshold.
      short: whether clips may have fewer segments than the task.
    """
    unknown = np.isnan(teacher.thresholds)
    if not unknown.any():
        return teacher
    found = [read_logits(data, name, teacher, task, short) for name in named]
    found = [logits for logits in found if logits is not None]
    if not found:
        return teacher
    quantiles = np.quantile(np.concatenate(found).astype(np.float64), 1 - prior, axis=0)
    thresholds = np.where(unknown, quantiles, teacher.thresholds)
    return dataclasses.replace(teacher, thresholds=tuple(map(float, thresholds)))
