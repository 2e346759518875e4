"""Contrastive losses between the audio and visual segments of a video: equal times match.

MA (Wu and Yang, CVPR 2021, section 3.2) and JoMoLD (Cheng et al., ECCV 2022, section 3.4)
define two different losses for the same idea. Of a short clip they compare the segments that are
there.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from avvp_jax.methods.losses import weighted_mean
from avvp_jax.nn.cosines import cosines
from avvp_jax.nn.time_mask import Lengths, present

TEMPERATURE = 0.2
# The share of a segment's target that is spread over the other segments.
SMOOTHING = 0.1


def contrastive_logits(
    audio: Float[Array, "videos segments width"],
    visual: Float[Array, "videos segments width"],
    precision: jax.lax.Precision,
) -> Float[Array, "videos segments segments"]:
    """Cosine similarities divided by 0.2; row = audio segment, column = visual segment."""
    return cosines(audio, visual, precision) / TEMPERATURE


def smoothed_cross_entropy(
    logits: Float[Array, "videos segments segments"],
    weight: Float[ArrayLike, " videos"],
    lengths: Lengths = None,
) -> Float[Array, ""]:
    """MA's loss: cross entropy with the smoothed diagonal, averaged over videos and segments."""
    targets, there = _targets(logits, lengths), present(lengths, logits, axis=2)
    log_prob = jax.nn.log_softmax(logits, where=there)
    entropy = -(targets * log_prob).sum(axis=-1, where=there)
    return weighted_mean(entropy.mean(axis=-1, where=present(lengths, entropy)), weight)


def expected_probability(
    logits: Float[Array, "videos segments segments"],
    weight: Float[ArrayLike, " videos"],
    lengths: Lengths = None,
) -> Float[Array, ""]:
    """JoMoLD's loss: minus the log of the mean probability, weighted by the smoothed diagonal."""
    targets = _targets(logits, lengths)
    prob = jax.nn.softmax(logits, where=present(lengths, logits, axis=2))
    expected = (targets * prob).sum(axis=-1)
    there = present(lengths, expected)
    if there is not None:
        expected = jnp.where(there, expected, 1.0)  # for the others, the logarithm may be infinite
    return weighted_mean(-jnp.log(expected).mean(axis=-1, where=there), weight)


def _targets(
    logits: Float[Array, "videos segments segments"], lengths: Lengths
) -> Float[Array, "*videos segments segments"]:
    """What each segment should match: itself, and a little all others; alone, itself."""
    segments = logits.shape[-1]
    diagonal = jnp.eye(segments, dtype=jnp.float32)
    if lengths is None:
        share, others = SMOOTHING if segments > 1 else 0.0, max(segments - 1, 1)
    else:
        others = jnp.maximum(lengths - 1, 1)[:, None, None]
        share = jnp.where(lengths > 1, SMOOTHING, 0.0)[:, None, None]
    return (1 - share) * diagonal + share / others * (1 - diagonal)
