"""Files of a teacher: reads its logits or embeddings of videos, and writes pseudo labels."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8

from avvp_jax.encoders.teachers import elaborate, segment_logits
from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.methods.valor.prompts import has_direction
from avvp_jax.storage.feature_files import read_numbers
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.task import Task

Logits = Float[np.ndarray, "segments classes"]
# Path -> the teacher's logits of one video; may raise DamagedFile.
ReadLogits = Callable[[Path], Logits]
Labels = UInt8[np.ndarray, "videos segments classes"]


def logits_reader(task: Task) -> ReadLogits:
    """A function that reads one video's logits [segments, classes]."""
    return lambda path: read_numbers(path, (task.segments, len(task.classes)))


def embeddings_reader(
    task: Task, prompts: Num[np.ndarray, "classes width"], scale: float
) -> ReadLogits:
    """A function that reads one video's embeddings [segments, width] and computes its logits."""

    def read(path: Path) -> Logits:
        embeddings = read_numbers(path, (task.segments, prompts.shape[1]))
        if not has_direction(embeddings).all():
            raise DamagedFile("holds an embedding of length 0 or beyond any number")
        return segment_logits(embeddings, prompts, scale)

    return read


def label_videos(
    folder: Path,
    read_logits: ReadLogits,
    thresholds: Sequence[float],
    videos: Mapping[str, tuple[Sequence[str], UInt8[np.ndarray, "videos classes"]]],
) -> dict[str, Labels]:
    """The pseudo labels of all videos, by split.

    Args:
      folder: holds NAME.npy for each video.
      videos: split -> the videos' names there, and their weak labels.

    Raises:
      UserError: files are missing or damaged (it names them), or a split has no video.
    """
    labels, problems = {}, []
    for name, (stored, weak_label) in videos.items():
        rows = []
        for video, weak in zip(stored, weak_label, strict=True):
            try:
                logits = read_logits(folder / f"{video}.npy")
            except DamagedFile as problem:
                problems.append(f"{video}.npy {problem}")
                continue
            rows.append(elaborate(logits, weak, thresholds))
        labels[name] = np.array(rows)
    if problems or not all(len(stored) for stored, _ in videos.values()):
        wish = "mend these files, or leave out missing ones with --allow_missing"
        found = first_ten(problems) or "a split has none at all"
        raise UserError(f"{folder}: unusable files ({len(problems)}): {found}; {wish}")
    return labels


def write_labels(out: Path, videos: Mapping[str, UInt8[np.ndarray, "segments classes"]]) -> None:
    """Writes OUT/ID.npy for each video, for all videos or for none.

    Raises:
      UserError: the folder cannot be written.
    """
    partial = out.with_name(f"{out.name}.incomplete")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        partial.mkdir(parents=True)
        for video, label in videos.items():
            np.save(partial / f"{video}.npy", label)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"{out}: cannot be written ({cause(error)}); make room, or choose another --out"
        ) from error
