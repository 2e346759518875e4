"""Scores of whole videos against their weak labels: F and average precision of every class.

A class's F-score is that of its decisions at 0.5 over all videos. Its average precision is the mean
over its positive videos of the precision among the videos that are at least as probable, so that
equally probable videos are taken together (as scikit-learn's average_precision_score has it). A
class without a positive video has neither, and is left out of the means.

On the host, `by_class` and `video_scores` divide in float64; in a jitted program,
`device_video_scores` divides in float32.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Shaped

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import THRESHOLD
from avvp_jax.metrics.scores import NAMES
from avvp_jax.task import MODALITIES

# What is judged by the weak labels: the whole video, what is heard in it, and what is seen.
WHOLES = ("video", *MODALITIES)
MEASURES = ("f", "ap")
VIDEO_NAMES = tuple(
    f"video/{'' if whole == 'video' else f'{whole}_'}{measure}"
    for whole in WHOLES
    for measure in MEASURES
)
# What whole_counts counts.
COUNTED = ("video/found", "video/missed", "video/wrong")
ALL_NAMES = (*NAMES, *VIDEO_NAMES)


def whole_probabilities(
    probs: Mapping[str, Shaped[Array | np.ndarray, "videos ..."]],
) -> Float[Array | np.ndarray, "videos 3 classes"]:
    """The probability that a class occurs in the video, is heard and is seen (WHOLES).

    The first is `global_prob`; where a parser has none (DHHN), the larger of the other two.

    Args:
      probs: a parser's probabilities; all NumPy or all JAX arrays.
    """
    audio, visual = (probs[f"{modality}_prob"] for modality in MODALITIES)
    xp = audio.__array_namespace__()
    whole = probs["global_prob"] if "global_prob" in probs else xp.maximum(audio, visual)
    return xp.stack([whole, audio, visual], axis=1)


def by_class(
    wholes: Float[np.ndarray, "videos 3 classes"], label: Shaped[np.ndarray, "_ _"]
) -> Float[np.ndarray, "6 classes"]:
    """Each class's scores in percent, in the order of VIDEO_NAMES; NaN without a positive video.

    Args:
      wholes: see whole_probabilities.
      label: [videos, classes], positive where a class occurs.

    Raises:
      UserError: shapes differ, or there is no video.
    """
    true = _checked(wholes, label)
    count = true.sum(axis=0)
    scores = np.full((len(WHOLES), len(MEASURES), true.shape[1]), np.nan)
    for whole, index in np.ndindex(len(WHOLES), true.shape[1]):
        if count[index]:
            prob, positive = wholes[:, whole, index], true[:, index]
            found = prob >= THRESHOLD
            f = 200 * (found & positive).sum() / (found.sum() + count[index])
            scores[whole, :, index] = f, 100 * average_precision(prob, positive)
    return scores.reshape(len(VIDEO_NAMES), -1)


def average_precision(
    prob: Float[np.ndarray, " videos"], positive: Bool[np.ndarray, " videos"]
) -> float:
    """The average precision of one class, from 0 to 1, in float64; some video is positive."""
    order = np.argsort(-prob, kind="stable")
    ordered = prob[order]
    # The last of the videos that are equally probable: at and above it are all that count.
    last = np.searchsorted(-ordered, -ordered, side="right") - 1
    precision = np.cumsum(positive[order]) / np.arange(1, len(prob) + 1)
    return float(precision[last][positive[order]].mean())


def video_scores(
    wholes: Float[np.ndarray, "videos 3 classes"], label: Shaped[np.ndarray, "_ _"]
) -> dict[str, float]:
    """The scores in percent by name (VIDEO_NAMES), in float64; of no class with a positive, none.

    Raises:
      UserError: see by_class.
    """
    each = by_class(wholes, label)
    there = ~np.isnan(each[0])
    if not there.any():
        return {}
    return dict(zip(VIDEO_NAMES, each[:, there].mean(axis=1).tolist(), strict=True))


def whole_counts(
    wholes: Float[np.ndarray, "videos 3 classes"], label: Bool[np.ndarray, "videos classes"]
) -> Int[np.ndarray, "videos 3"]:
    """How many of each video's labels are found and missed, and how many others are found."""
    found = wholes[:, 0] >= THRESHOLD
    each = (found & label, ~found & label, found & ~label)
    return np.stack([x.sum(axis=1) for x in each], axis=1)


def device_video_scores(
    wholes: Float[ArrayLike, "videos 3 classes"],
    label: Shaped[ArrayLike, "_ _"],
    weight: Float[ArrayLike, " videos"] | None = None,
) -> Float[Array, "6"]:
    """The scores in percent, in the order of VIDEO_NAMES, within 1e-3 of `video_scores`.

    NaN if no class has a positive video. A pure function, which can be jitted and vmapped over
    seeds.

    Args:
      weight: 1 for a video that counts, 0 for padding; None if all count.

    Raises:
      UserError: shapes differ, or there is no video (raised while tracing).
    """
    true = _checked(wholes, label)
    weight = (jnp.ones(len(true)) if weight is None else jnp.asarray(weight))[:, None, None]
    positive = weight * true[:, None]
    count = positive.sum(axis=0)
    found = wholes >= THRESHOLD
    total = (weight * found).sum(axis=0) + count
    f = 2 * (positive * found).sum(axis=0) / jnp.maximum(total, 1)

    order = jnp.argsort(-wholes, axis=0)
    ordered, positive, weight = (
        jnp.take_along_axis(jnp.broadcast_to(x, wholes.shape), order, axis=0)
        for x in (wholes, positive, weight)
    )
    precision = jnp.cumsum(positive, axis=0) / jnp.maximum(jnp.cumsum(weight, axis=0), 1)
    ends = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones_like(ordered[:1], bool)], axis=0)
    position = lax.broadcasted_iota(jnp.int32, ends.shape, 0)
    last = lax.cummin(jnp.where(ends, position, len(true)), axis=0, reverse=True)
    reached = jnp.take_along_axis(precision, last, axis=0)
    ap = (positive * reached).sum(axis=0) / jnp.maximum(count, 1)

    there = count > 0
    values = jnp.where(there, jnp.stack([f, ap], axis=1), 0).sum(axis=-1)
    return (100 * values / there[0].sum()).reshape(-1).astype(jnp.float32)


def _checked(
    wholes: Float[ArrayLike, "videos 3 classes"], label: Shaped[ArrayLike, "_ _"]
) -> Bool[Array | np.ndarray, "videos classes"]:
    """The labels as bool."""
    if (len(wholes), wholes.shape[-1]) != label.shape:
        raise UserError(
            f"probabilities of {len(wholes)} videos and {wholes.shape[-1]} classes differ from "
            f"weak labels {label.shape}; predict and score the same split"
        )
    if not len(label):
        raise UserError("there is no video to score; choose a split that has videos")
    return label > 0
