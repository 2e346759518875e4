"""Writes results of each video as tab-separated text, like the annotation files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from avvp_jax.metrics.events import events_of
from avvp_jax.metrics.scores import PER_VIDEO_NAMES
from avvp_jax.metrics.video_scores import COUNTED
from avvp_jax.storage.writing import write_lines
from avvp_jax.task import MODALITIES, Task


def write_events_csv(
    path: str | Path,
    filenames: Sequence[str],
    segments: Bool[ndarray, "videos segments 2 classes"],
    modality: str,
    task: Task,
) -> None:
    """Writes one modality's events in the format of the dense annotation files.

    Each row is one event: filename, onset, offset (in seconds), event_labels. Videos keep their
    order; a video's events are sorted by class and onset. A video without events has no row.
    """
    rows = [("filename", "onset", "offset", "event_labels")]
    chosen = segments[:, :, MODALITIES.index(modality)]
    for filename, video in zip(filenames, chosen, strict=True):
        rows += [
            (filename, task.time(onset), task.time(offset), task.classes[index])
            for index, onset, offset in events_of(video)
        ]
    write_lines(path, map(csv_line, rows))


def write_per_video_csv(
    path: str | Path,
    filenames: Sequence[str],
    per_video: Float[ndarray, "videos 8"],
    counts: Int[ndarray, "videos 3"],
) -> None:
    """Writes the result of scores.per_video in percent, one row per video, below a header.

    The mean of a column is the score of that name. Cells of a video without dense annotations, NaN,
    are empty; a split without any lacks these columns. The last columns count labels of whole
    videos.

    Args:
      counts: see video_scores.whole_counts.
    """
    names = PER_VIDEO_NAMES if np.isfinite(per_video).any() else ()
    rows = [("filename", *names, *COUNTED)]
    for filename, scored, counted in zip(filenames, per_video, counts, strict=True):
        cells = ("" if np.isnan(x) else f"{100 * x:.4f}" for x in scored[: len(names)])
        rows.append((filename, *cells, *counted.tolist()))
    write_lines(path, map(csv_line, rows))


def csv_line(cells: Iterable[object]) -> str:
    """A row of a table with tabs, in quotes where a cell has tabs or quotes of its own."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerow(cells)
    return text.getvalue().removesuffix("\r\n")
