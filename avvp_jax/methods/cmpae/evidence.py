"""Evidence for the presence and the absence of a class, and what follows from both.

Gao, Chen and Xu, "Collecting Cross-Modal Presence-Absence Evidence for Weakly-Supervised
Audio-Visual Event Perception", CVPR 2023. Evidence parametrises a Beta distribution (of more than
two classes a Dirichlet), whose mean is the probability; the less evidence in all, the less certain.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avvp_jax.nn.time_mask import Lengths, present

LARGEST_LOGIT, TEMPERATURE = 10.0, 0.8


class Belief(NamedTuple):
    """The probability that a class is there, and how uncertain that is, from 0 to 1."""

    prob: Float[Array, "*shape"]
    uncertainty: Float[Array, "*shape"]


def evidence(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Evidence, above 0."""
    return jnp.exp(_logarithm(logits))


def _logarithm(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """That of the evidence."""
    return jnp.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT) / TEMPERATURE


def belief(pairs: Float[Array, "*shape 2"]) -> Belief:
    """What follows from the logits of presence and of absence, in this order on the last axis.

    With A = evidence + 1, the probability is A_presence / (A_presence + A_absence), here computed
    as the sigmoid of the difference of their logarithms, whose gradient loses no digits.
    """
    scaled = _logarithm(pairs)
    logarithms = jax.nn.softplus(scaled)
    prob = jax.nn.sigmoid(logarithms[..., 0] - logarithms[..., 1])
    return Belief(prob, 2.0 / (jnp.exp(scaled) + 1.0).sum(axis=-1))


def global_belief(
    logits: Float[Array, "videos segments classes"], lengths: Lengths = None
) -> tuple[Float[Array, "videos classes"], Float[Array, " videos"]]:
    """The classes' probabilities of a video by its global branch, and its one uncertainty.

    The probability is the mean of the segments' sigmoids; the uncertainty follows from their mean
    logits.
    """
    there = present(lengths, logits)
    mean = logits.mean(axis=1, where=there)
    uncertainty = logits.shape[-1] / (evidence(mean) + 1.0).sum(axis=-1)
    return jax.nn.sigmoid(logits).mean(axis=1, where=there), uncertainty
