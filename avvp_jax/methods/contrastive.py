"""Contrastive losses between the audio and visual segments of a video: equal times match.

MA (Wu and Yang, CVPR 2021, section 3.2) and JoMoLD (Cheng et al., ECCV 2022, section 3.4)
define two different losses for the same idea.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from avvp_jax.methods.losses import weighted_mean

TEMPERATURE = 0.2
# The share of a segment's target that is spread over the other segments.
SMOOTHING = 0.1


def contrastive_logits(
    audio: Float[Array, "videos segments width"],
    visual: Float[Array, "videos segments width"],
    precision: jax.lax.Precision,
) -> Float[Array, "videos segments segments"]:
    """Cosine similarities divided by 0.2; row = audio segment, column = visual segment."""
    audio, visual = (_unit(x.astype(jnp.float32)) for x in (audio, visual))
    return jnp.einsum("btd,bsd->bts", audio, visual, precision=precision) / TEMPERATURE


def smoothed_cross_entropy(
    logits: Float[Array, "videos segments segments"], weight: Float[ArrayLike, " videos"]
) -> Float[Array, ""]:
    """MA's loss: cross entropy with the smoothed diagonal, averaged over videos and segments."""
    entropy = -(_targets(logits) * jax.nn.log_softmax(logits)).sum(axis=-1)
    return weighted_mean(entropy.mean(axis=-1), weight)


def expected_probability(
    logits: Float[Array, "videos segments segments"], weight: Float[ArrayLike, " videos"]
) -> Float[Array, ""]:
    """JoMoLD's loss: minus the log of the mean probability, weighted by the smoothed diagonal."""
    expected = (_targets(logits) * jax.nn.softmax(logits)).sum(axis=-1)
    return weighted_mean(-jnp.log(expected).mean(axis=-1), weight)


def _targets(logits: Float[Array, "videos segments segments"]) -> Float[Array, "segments segments"]:
    segments = logits.shape[-1]
    diagonal = jnp.eye(segments)
    return (1 - SMOOTHING) * diagonal + SMOOTHING / (segments - 1) * (1 - diagonal)


def _unit(x: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)
