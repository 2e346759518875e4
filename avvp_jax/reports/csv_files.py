"""Writes results of each video as tab-separated text, like the annotation files."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool, Float
from numpy import ndarray

from avvp_jax.metrics.events import events_of
from avvp_jax.metrics.scores import PER_VIDEO_NAMES
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
    lines = ["filename\tonset\toffset\tevent_labels"]
    chosen = segments[:, :, MODALITIES.index(modality)]
    for filename, video in zip(filenames, chosen, strict=True):
        lines += [
            f"{filename}\t{task.time(onset)}\t{task.time(offset)}\t{task.classes[index]}"
            for index, onset, offset in events_of(video)
        ]
    write_lines(path, lines)


def write_per_video_csv(
    path: str | Path, filenames: Sequence[str], per_video: Float[ndarray, "videos 8"]
) -> None:
    """Writes the result of scores.per_video in percent, one row per video, below a header.

    The mean of a column is the score of that name.
    """
    lines = ["\t".join(("filename", *PER_VIDEO_NAMES))]
    for filename, row in zip(filenames, per_video, strict=True):
        lines.append("\t".join((filename, *(f"{100 * value:.4f}" for value in row))))
    write_lines(path, lines)
