"""CMPAE's mutual loss: the global branch and the modalities learn from each other, in turn.

Gao, Chen and Xu, CVPR 2023.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PyTree

from avvp_jax.methods.losses import clamp, weighted_mean

LEAST_UNCERTAINTY = 0.9


def mutual_loss(
    output: PyTree[Float[ArrayLike, "videos ..."]],
    label: Float[ArrayLike, "videos classes"],
    weight: Float[ArrayLike, " videos"],
    of_global: Bool[ArrayLike, ""],
) -> Float[Array, ""]:
    """Squared differences between the global probability and the modalities'.

    Of a label, the more probable modality counts; of a class that is no label, the mean of both.
    As published, the weights by uncertainty have gradients too, but that of a video's global
    uncertainty is bounded below, and has none there.

    Args:
      output: probabilities and uncertainties of EvidenceParser.
      label: the weak label, unedited.
      weight: of each video.
      of_global: whether the global branch learns in this step; if not, the modalities do.
    """
    audio, visual = clamp(output["audio_prob"]), clamp(output["visual_prob"])
    unsure = output["audio_uncertainty"], output["visual_uncertainty"]
    larger = jnp.maximum(audio, visual), jnp.where(audio >= visual, *unsure)
    mean = (audio + visual) / 2, (unsure[0] + unsure[1]) / 2
    whole = clamp(output["global_prob"])
    whole = jnp.where(of_global, whole, jax.lax.stop_gradient(whole))

    def squares(prob, uncertainty):
        prob = jnp.where(of_global, jax.lax.stop_gradient(prob), prob)
        return (1.0 - uncertainty) * jnp.square(whole - prob)

    difference = label * squares(*larger) + (1.0 - label) * squares(*mean)
    bounded = jnp.maximum(output["global_uncertainty"], LEAST_UNCERTAINTY)
    share = jnp.where(of_global, bounded, 1.0 - bounded)
    return weighted_mean(share * difference.mean(axis=-1), weight)
