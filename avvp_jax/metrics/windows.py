"""Joins the probabilities of windows to those of a whole video, which may be of any length.

A parser sees a window of as many segments as it was trained on. Where windows overlap, their
probabilities are averaged. A segment in one window alone is predicted as in that window.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from avvp_jax.metrics.events import predicted_segments


def window_starts(segments: int, window: int, hop: int) -> list[int]:
    """Where windows start, in segments: every `hop`, and the last one moved back to the end.

    Args:
      segments: of the video; if it has fewer than a window, there is one window.
      window: segments of a window.
      hop: segments from one start to the next, from 1 to `window`.
    """
    last = max(segments - window, 0)
    return [*range(0, last, hop), last]


def joined(
    probs: Mapping[str, Float[np.ndarray, "windows ..."]], starts: Sequence[int]
) -> dict[str, Float[np.ndarray, "segments ..."]]:
    """The probabilities of every segment of a video, averages over the windows that hold it.

    Args:
      probs: of the windows: `frame_prob` [windows, segments, 2, classes], and those of whole
        windows [windows, classes].
      starts: of the windows in segments, see `window_starts`.

    Returns:
      By the same names: `frame_prob` [segments, 2, classes], the others [segments, classes].
    """
    length = probs["frame_prob"].shape[1]
    count = np.zeros(max(starts) + length, np.float32)
    totals = {}
    for name, values in probs.items():
        shape = values.shape[2:] if name == "frame_prob" else values.shape[1:]
        totals[name] = np.zeros((len(count), *shape), np.float32)
    for window, start in enumerate(starts):
        place = slice(start, start + length)
        count[place] += 1
        for name, values in probs.items():
            totals[name][place] += values[window]
    return {
        name: total / count.reshape(-1, *[1] * (total.ndim - 1)) for name, total in totals.items()
    }


def predicted(
    probs: Mapping[str, Shaped[np.ndarray, "segments ..."]], video_filter: str
) -> Bool[np.ndarray, "segments 2 classes"]:
    """The segments predicted active, by the rule of `predicted_segments`.

    Args:
      probs: of every segment, as `joined` gives them.
      video_filter: one of VIDEO_FILTERS; the probability of the windows around a segment counts.
    """
    alone = {name: x[:, None] if name == "frame_prob" else x for name, x in probs.items()}
    return predicted_segments(alone, video_filter)[:, 0]
