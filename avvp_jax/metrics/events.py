"""From probabilities to predicted segments, and from segments to events.

An event is a maximal run of segments in which one class is active in one modality.
Source: Tian, Li and Xu, ECCV 2020, sections 3 and 6 and the published evaluation program.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, Shaped

from avvp_jax.errors import UserError
from avvp_jax.task import MODALITIES

THRESHOLD = 0.5
VIDEO_FILTERS = ("global", "per_modality", "union", "mixed")

# One for all, or one for each class of each modality.
Threshold = float | tuple[tuple[float, ...], tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Decision:
    """How probabilities become predicted segments; it can be hashed.

    Attributes:
        video_filter: which probability of a video counts, see video_probabilities.
        segment: what a segment's own probability must reach.
        video: what its video's probability must reach.
    """

    video_filter: str
    segment: Threshold = THRESHOLD
    video: Threshold = THRESHOLD

    @property
    def plain(self) -> bool:
        """Whether one number decides everything, that of most methods."""
        return self.segment == self.video == THRESHOLD


def predicted_segments(
    probs: Mapping[str, Shaped[Array | np.ndarray, "videos ..."]],
    decision: Decision | str,
) -> Bool[Array | np.ndarray, "videos segments 2 classes"]:
    """The segments predicted active: their own and their video's probability reach a threshold.

    Args:
        probs: `frame_prob` [videos, segments, 2, classes], and what `video_probabilities` takes.
            All NumPy or all JAX arrays (traced ones too); they are compared in their own dtype.
        decision: the filter and the thresholds; the name of a filter alone has those of 0.5.

    Returns:
        A boolean array of the same library as `frame_prob`.

    Raises:
        UserError: the filter is unknown, or thresholds are of another number of classes.
    """
    decision = Decision(decision) if isinstance(decision, str) else decision
    own, of_video = probs["frame_prob"], video_probabilities(probs, decision.video_filter)
    whole = of_video >= _limits(decision.video, of_video)
    return (own >= _limits(decision.segment, own)) & whole[..., None, :, :]


def _limits(
    threshold: Threshold, probs: Shaped[Array | np.ndarray, "*shape"]
) -> float | Shaped[Array | np.ndarray, "2 classes"]:
    """A threshold as what probabilities are compared with."""
    if isinstance(threshold, tuple):
        if len(threshold[0]) != probs.shape[-1]:
            raise UserError(
                f"there are thresholds for {len(threshold[0])} classes, and probabilities of "
                f"{probs.shape[-1]}; give the thresholds that were chosen for this task"
            )
        return probs.__array_namespace__().asarray(threshold, dtype=probs.dtype)
    return threshold


def video_probabilities(
    probs: Mapping[str, Shaped[Array | np.ndarray, "videos ..."]], video_filter: str
) -> Shaped[Array | np.ndarray, "videos 2 classes"]:
    """The probability of the video that counts for each modality's segments.

    Args:
        probs: of `global_prob`, `audio_prob` and `visual_prob` those that the filter names, each
            [videos, classes].
        video_filter: "global": `global_prob` for both modalities (HAN, VALOR). "per_modality": that
            of each modality (MA, JoMoLD, DHHN). "union": the larger of the two modalities', for
            both (LEAP). "mixed": `global_prob` for audio, `visual_prob` for visual (MM-CSE).

    Raises:
        UserError: `video_filter` is none of these.
    """
    if video_filter not in VIDEO_FILTERS:
        raise UserError(f"video_filter is {video_filter!r}; choose one of {VIDEO_FILTERS}")
    names = [f"{modality}_prob" for modality in MODALITIES]
    if video_filter in ("global", "mixed"):
        names = ["global_prob", "global_prob" if video_filter == "global" else names[1]]
    audio, visual = (probs[name] for name in names)
    xp = audio.__array_namespace__()
    if video_filter == "union":
        audio = visual = xp.maximum(audio, visual)
    return xp.stack([audio, visual], axis=-2)


def runs(
    active: Bool[Array | np.ndarray, "*shape"], axis: int
) -> tuple[Int[Array, "*shape"], Int[Array, "*shape"]]:
    """For each active position, start and end (exclusive) of its maximal run along `axis`.

    Both results have the shape of `active`; where that is False, they mean nothing.
    """
    length = active.shape[axis]
    position = lax.broadcasted_iota(jnp.int32, active.shape, axis % active.ndim)
    # A run starts after the last inactive position before it and ends at the next one.
    start = lax.cummax(jnp.where(active, 0, position + 1), axis=axis % active.ndim)
    end = lax.cummin(jnp.where(active, length, position), axis=axis % active.ndim, reverse=True)
    return start, end


def events_of(segments: Bool[np.ndarray, "segments classes"]) -> list[tuple[int, int, int]]:
    """The events of one video and modality as (class index, onset, offset), in that order.

    Onset and offset are in segments, the offset exclusive; `Task.time` gives them in seconds.
    """
    padded = np.pad(np.asarray(segments, np.int8).T, ((0, 0), (1, 1)))
    change = np.diff(padded, axis=1)
    classes, onsets = np.nonzero(change == 1)
    offsets = np.nonzero(change == -1)[1]
    return list(zip(classes.tolist(), onsets.tolist(), offsets.tolist(), strict=True))
