"""Losses that the methods share, on probabilities and weak labels.

Every mean over videos is weighted: `weight` [videos] is 1 for a video and 0 for padding (of an
epoch's smaller last batch), so padding has no effect.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

PROBABILITY_MARGIN = 1e-7

# Visual targets are smoothed, because labelled events are often heard but not seen. Audio
# targets are not (HAN, ECCV 2020, section 4.4).
VISUAL_SMOOTHING = 0.1


def clamp(prob: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Clips probabilities to [1e-7, 1 - 1e-7], as published, so that logarithms stay finite."""
    return jnp.clip(prob, PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN)


def bce(
    prob: Float[ArrayLike, "videos classes"],
    target: Float[ArrayLike, "videos classes"],
    weight: Float[ArrayLike, " videos"],
) -> Float[Array, ""]:
    """Binary cross entropy, averaged over the videos of weight 1 and all classes."""
    return weighted_mean(cross_entropy(prob, target).mean(axis=-1), weight)


def cross_entropy(
    prob: Float[ArrayLike, "*shape"], target: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    """Binary cross entropy of each probability, clamped, with its target."""
    prob = clamp(prob)
    return -(target * jnp.log(prob) + (1.0 - target) * jnp.log1p(-prob))


def weighted_mean(
    value: Float[ArrayLike, " videos"], weight: Float[ArrayLike, " videos"]
) -> Float[Array, ""]:
    """The mean of `value` over the videos of weight 1."""
    return (value * weight).sum() / weight.sum()


def smooth_visual(label: Float[ArrayLike, "*shape"]) -> Float[ArrayLike, "*shape"]:
    """The smoothed visual target of a weak label y: 0.9 y + 0.05."""
    return (1.0 - VISUAL_SMOOTHING) * label + VISUAL_SMOOTHING / 2


def mmil_losses(
    output: PyTree[Float[Array, "videos ..."]],
    targets: PyTree[Float[ArrayLike, "videos classes"]],
    weight: Float[ArrayLike, " videos"],
) -> PyTree[Float[Array, ""]]:
    """The three parts of the MMIL loss (HAN, ECCV 2020, section 4.4), by their logged names.

    Args:
      output: a parser's probabilities.
      targets: `audio`, `visual` and `video`, see targets.targets.
      weight: of each video.
    """
    return {
        "loss/audio": bce(output["audio_prob"], targets["audio"], weight),
        "loss/visual": bce(output["visual_prob"], targets["visual"], weight),
        "loss/global": bce(output["global_prob"], targets["video"], weight),
    }
