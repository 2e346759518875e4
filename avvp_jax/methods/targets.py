"""Targets of the three losses, from weak labels and what a method removed from them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from avvp_jax.methods.losses import smooth_visual
from avvp_jax.training.run import Run
from avvp_jax.training.state import BatchArrays


class RemovedLabels(NamedTuple):
    """Labels that a method found to be absent from a modality: True where removed."""

    audio: Bool[np.ndarray, "videos classes"]
    visual: Bool[np.ndarray, "videos classes"]


def targets(
    weak_label: Float[np.ndarray, "videos classes"],
    removed: RemovedLabels | None = None,
    *,
    edit_video_target: bool = True,
) -> dict[str, Float[np.ndarray, "videos classes"]]:
    """The targets `audio`, `visual` (smoothed) and `video` of audio_prob, visual_prob, global_prob.

    A removed label's target is 0 in its modality, after smoothing.

    edit_video_target: MA's program keeps the audio and the video target in one
    array, so a removed audio label leaves the video target too (True, the
    published numbers); its paper edits the modality's target alone (False).
    """
    label = weak_label.astype(np.float32)
    audio, visual, video = label, np.asarray(smooth_visual(label)), label
    if removed is not None:
        audio = np.where(removed.audio, np.float32(0), audio)
        visual = np.where(removed.visual, np.float32(0), visual)
        video = audio if edit_video_target else video
    return {"audio": audio, "visual": visual, "video": video}


def weak_targets(run: Run) -> BatchArrays:
    """What a stage trains on whose labels nobody has refined: the targets of weak labels."""
    return BatchArrays({"targets": targets(run.train.weak_label)})


def no_arrays(run: Run) -> BatchArrays:
    """What a stage's seeds share where each has targets of its own: nothing."""
    return BatchArrays()
