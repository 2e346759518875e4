"""Writes labels as the published annotation files."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped, UInt8

from avvp_jax.task import MODALITIES, Task
from tfds_llp.annotations import DENSE_FILES, DENSELY_LABELLED, SPLIT_FILES
from tfds_llp.csv_tables import write_table

DENSE_COLUMNS = ("filename", "onset", "offset", "event_labels")


@runtime_checkable
class LabelledVideo(Protocol):
    """A video whose labels are to be written; they are 0 or 1."""

    filename: str
    weak_label: UInt8[np.ndarray, " classes"]
    audio_label: UInt8[np.ndarray, "segments classes"]
    visual_label: UInt8[np.ndarray, "segments classes"]


def write_annotations(
    folder: Path, splits: Mapping[str, Iterable[LabelledVideo]], task: Task
) -> None:
    """Writes the annotation files of a data set, dense ones for val and test.

    Existing files are replaced. Videos are gone through once.
    """
    weak, dense = {}, {modality: [] for modality in MODALITIES}
    for split, videos in splits.items():
        weak[split] = []
        for video in videos:
            names = [task.classes[index] for index in np.flatnonzero(video.weak_label)]
            weak[split].append((video.filename, ",".join(names)))
            if split in DENSELY_LABELLED:
                dense["audio"] += event_rows(video.filename, video.audio_label, task)
                dense["visual"] += event_rows(video.filename, video.visual_label, task)
    columns = ("filename", "event_labels")
    for split, file in SPLIT_FILES.items():
        write_table(folder / file, columns, weak.get(split, []))
    write_table(folder / "AVVP_dataset_full.csv", columns, sum(weak.values(), []))
    for modality, file in DENSE_FILES.items():
        write_table(folder / file, DENSE_COLUMNS, dense[modality])


def event_rows(
    filename: str, segments: Shaped[np.ndarray, "segments classes"], task: Task
) -> Iterator[tuple[str, float, float, str]]:
    """A row per event, as in the dense annotation files: seconds, offset exclusive."""
    for index in np.flatnonzero(segments.any(0)):
        change = np.diff(segments[:, index].astype(np.int8), prepend=0, append=0)
        bounds = np.flatnonzero(change)
        for onset, offset in zip(bounds[::2], bounds[1::2], strict=True):
            yield filename, task.time(int(onset)), task.time(int(offset)), task.classes[index]
