"""Joins the probabilities of windows to those of a whole video, which may be of any length.

A parser sees a window of as many segments as it was trained on. Where windows overlap, their
probabilities are averaged. A segment in one window alone is predicted as in that window.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from avvp_jax.metrics.events import Decision, predicted_segments

_NO_SHARE = 1e-6  # of a segment: rounding


def joined(
    probs: Mapping[str, Float[np.ndarray, "windows ..."]], starts: Sequence[float]
) -> dict[str, Float[np.ndarray, "segments ..."]]:
    """The probabilities of every segment of a video, averages over the windows that hold it.

    A window that starts within a segment counts for it by the share that it holds.

    Args:
      probs: of the windows: `frame_prob` [windows, segments, 2, classes], and those of whole
        windows [windows, classes].
      starts: of the windows, in segments from the start of the video.

    Returns:
      By the same names: `frame_prob` [segments, 2, classes], the others [segments, classes].
    """
    length = probs["frame_prob"].shape[1]
    segments = math.ceil(max(starts) + length - _NO_SHARE)
    weight = np.zeros(segments, np.float32)
    totals = {}
    for name, values in probs.items():
        shape = values.shape[2:] if name == "frame_prob" else values.shape[1:]
        totals[name] = np.zeros((segments, *shape), np.float32)
    for window, start in enumerate(starts):
        first = math.floor(start + _NO_SHARE)
        later = max(0.0, start - first)
        for place, share in ((first, 1 - later), (first + 1, later)):
            if share <= _NO_SHARE:
                continue
            weight[place : place + length] += share
            for name, values in probs.items():
                totals[name][place : place + length] += np.float32(share) * values[window]
    return {
        name: total / weight.reshape(-1, *[1] * (total.ndim - 1)) for name, total in totals.items()
    }


def predicted(
    probs: Mapping[str, Shaped[np.ndarray, "segments ..."]],
    decision: Decision | str,
) -> Bool[np.ndarray, "segments 2 classes"]:
    """The segments predicted active, by the rule of `predicted_segments`.

    Args:
      probs: of every segment, as `joined` gives them.
      decision: see predicted_segments; the probability of the windows around a segment counts.
    """
    alone = {name: x[:, None] if name == "frame_prob" else x for name, x in probs.items()}
    return predicted_segments(alone, decision)[:, 0]
