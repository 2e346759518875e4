"""What a scored model says of a split, in a small file that pages read: parsed_SPLIT.npz."""

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.metrics.video_scores import whole_probabilities
from avvp_jax.storage.reading import read_npz
from avvp_jax.storage.writing import write_small_npz
from avvp_jax.task import Task

_ALWAYS = ("filename", "classes", "segment_seconds", "truth", "predicted", "annotated")
_ALWAYS += ("dense", "lengths", "weak_label", "whole_prob")
# MMIL's weights over time sum to one in each modality, and those over modalities in each segment;
# so its global_prob, which is both, can be almost two. Losses clamp it. And there is rounding.
MOST = 2.001


@dataclass(frozen=True)
class Parsed:
    """What one model says of a split, and what is annotated there.

    Attributes:
      filenames: of the videos.
      task: their classes and segments.
      truth: Split.truth_digest.
      predicted, annotated: which segments; nothing is annotated where a video is not dense.
      dense: which videos have dense annotations.
      lengths: how many segments each clip has.
      weak_label: which classes occur in each video.
      wholes: see whole_probabilities.
    """

    filenames: list[str]
    task: Task
    truth: str
    predicted: Bool[np.ndarray, "videos segments 2 classes"]
    annotated: Bool[np.ndarray, "videos segments 2 classes"]
    dense: Bool[np.ndarray, " videos"]
    lengths: Int[np.ndarray, " videos"]
    weak_label: Bool[np.ndarray, "videos classes"]
    wholes: Float[np.ndarray, "videos 3 classes"]


def path_of(folder: str, split: str) -> str:
    return os.path.join(folder, f"parsed_{split}.npz")


def write_parsed(
    folder: str,
    split: Split,
    probs: dict[str, np.ndarray],
    segments: Bool[np.ndarray, "videos segments 2 classes"],
) -> None:
    """Writes parsed_SPLIT.npz of one seed."""
    annotated, dense = np.zeros_like(segments), np.zeros(len(split), bool)
    dense[split.dense_rows] = True
    if split.truth is not None:
        annotated[dense] = split.truth[dense] > 0
    lengths = np.full(len(split), split.task.segments)
    lengths = (lengths if split.lengths is None else split.lengths).astype(np.int32)
    write_small_npz(
        path_of(folder, split.name),
        filename=np.array(split.filenames),
        classes=np.array(split.task.classes),
        segment_seconds=np.array(float(split.task.seconds)),
        truth=np.array(split.truth_digest),
        predicted=segments,
        annotated=annotated,
        dense=dense,
        lengths=lengths,
        weak_label=split.weak_label > 0,
        whole_prob=whole_probabilities(probs).astype(np.float32),
    )


def read_parsed(folder: str, split: str) -> Parsed:
    """Reads what `write_parsed` wrote.

    Raises:
      UserError: there is no such file, or it is damaged.
    """
    path, way_out = path_of(folder, split), f"run --mode=eval --workdir={folder} again"
    arrays = read_npz(path, _ALWAYS, way_out)
    try:
        return _checked(arrays)
    # SystemError: NumPy finds signs in a string that are no text.
    except (ValueError, TypeError, OverflowError, SystemError) as error:
        raise UserError(f"{path}: damaged ({error}); {way_out}") from None


def _checked(arrays: dict[str, np.ndarray]) -> Parsed:
    """The arrays as a Parsed.

    Raises:
      ValueError: they do not fit together; says why.
    """
    predicted = arrays["predicted"]
    if predicted.ndim != 4 or predicted.shape[2] != 2 or not predicted.size:
        raise ValueError(f"predicted has shape {predicted.shape}")
    videos, segments, _, classes = predicted.shape
    wanted = {
        "filename": ((videos,), "U"),
        "classes": ((classes,), "U"),
        "segment_seconds": ((), "f"),
        "truth": ((), "U"),
        "predicted": (predicted.shape, "b"),
        "annotated": (predicted.shape, "b"),
        "dense": ((videos,), "b"),
        "lengths": ((videos,), "i"),
        "weak_label": ((videos, classes), "b"),
        "whole_prob": ((videos, 3, classes), "f"),
    }
    for name, (shape, kind) in wanted.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.kind != kind:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {shape}")
        if kind == "b" and (array.view(np.uint8) > 1).any():
            raise ValueError(f"{name} holds other than yes and no")
    lengths, wholes = arrays["lengths"], arrays["whole_prob"]
    if not ((lengths > 0) & (lengths <= segments)).all():
        raise ValueError("lengths are not from 1 to the number of segments")
    if not ((wholes >= 0) & (wholes <= MOST)).all():
        raise ValueError(f"whole_prob is not from 0 to {MOST}")
    stored = {"name": "scored", "classes": arrays["classes"].tolist(), "segments": segments}
    task = Task.from_json(stored | {"seconds": float(arrays["segment_seconds"])})
    return Parsed(
        filenames=arrays["filename"].tolist(),
        task=task,
        truth=str(arrays["truth"]),
        predicted=predicted,
        annotated=arrays["annotated"],
        dense=arrays["dense"],
        lengths=lengths,
        weak_label=arrays["weak_label"],
        wholes=wholes,
    )
