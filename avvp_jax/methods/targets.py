"""Targets of the MMIL losses, from weak labels and the labels that a method removed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from avvp_jax.methods.losses import smooth_visual
from avvp_jax.training.run import Run
from avvp_jax.training.state import BatchArrays


class RemovedLabels(NamedTuple):
    """The labels that a method removed from each modality: True where removed."""

    audio: Bool[np.ndarray, "videos classes"]
    visual: Bool[np.ndarray, "videos classes"]


def targets(
    weak_label: Float[np.ndarray, "videos classes"],
    removed: RemovedLabels | None = None,
    *,
    edit_video_target: bool = True,
) -> dict[str, Float[np.ndarray, "videos classes"]]:
    """The targets `audio`, `visual` and `video` for audio_prob, visual_prob and global_prob.

    Visual targets are smoothed. The target of a removed label is then set to 0 in its modality.

    Args:
      weak_label: 0 or 1.
      removed: labels to remove; None removes none.
      edit_video_target: whether a removed audio label is removed from the video target too.
        MA's program does so, because its audio and video targets are one array; the published
        numbers come from it. MA's paper only edits the modality's target (False).
    """
    label = weak_label.astype(np.float32)
    audio, visual, video = label, np.asarray(smooth_visual(label)), label
    if removed is not None:
        audio = np.where(removed.audio, np.float32(0), audio)
        visual = np.where(removed.visual, np.float32(0), visual)
        video = audio if edit_video_target else video
    return {"audio": audio, "visual": visual, "video": video}


def weak_targets(run: Run) -> BatchArrays:
    """Batch arrays of a stage that trains on the weak labels as they are."""
    return BatchArrays({"targets": targets(run.train.weak_label)})


def no_arrays(run: Run) -> BatchArrays:
    """No batch arrays, for a stage whose seeds each have targets of their own."""
    return BatchArrays()
