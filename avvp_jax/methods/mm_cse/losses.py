"""MM-CSE's regularisers: rebuilt tokens, orthogonal backgrounds, and classes that occur together.

Each is a mean over videos of weight 1 and over the segments that are there.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from avvp_jax.methods.losses import weighted_mean
from avvp_jax.nn.cosines import cosine
from avvp_jax.nn.time_mask import Lengths, present
from avvp_jax.task import MODALITIES

# Names of the maps: the modality of the query, and the one that it attends to.
MAPS = ("audio_audio", "visual_visual", "audio_visual", "visual_audio")

Output = PyTree[Float[Array, "videos ..."]]
Losses = PyTree[Float[Array, ""]]
Weight = Float[ArrayLike, " videos"]


def reconstruction(output: Output, weight: Weight, lengths: Lengths = None) -> Losses:
    """How far each modality's rebuilt tokens are from its tokens, both of which learn."""
    return {
        modality: over_segments(
            jnp.square(output["tokens"][modality] - output["rebuilt"][modality]), weight, lengths
        )
        for modality in MODALITIES
    }


def orthogonality(output: Output, weight: Weight, lengths: Lengths = None) -> Losses:
    """Cosines of classes with the background: of each of them in sound, of their mean in sight."""
    audio, visual = (output["slots"][modality] for modality in MODALITIES)
    seen = visual[:, :, :-1].mean(axis=2)
    cosines = {
        "audio": cosine(audio[:, :, :-1], audio[:, :, -1:]),
        "visual": cosine(seen, visual[:, :, -1])[..., None],
    }
    return {name: over_segments(each, weight, lengths) for name, each in cosines.items()}


def cooccurrence(
    output: Output,
    pseudo_label: PyTree[Float[ArrayLike, "videos segments classes"]],
    weight: Weight,
    lengths: Lengths = None,
) -> Losses:
    """How far attention between classes is from whether teachers see or hear both at once."""
    targets = cooccurrence_targets(pseudo_label)
    return {
        name: over_segments(jnp.square(output["maps"][name] - targets[name]), weight, lengths)
        for name in MAPS
    }


def cooccurrence_targets(
    pseudo_label: PyTree[Float[ArrayLike, "videos segments classes"]],
) -> PyTree[Float[ArrayLike, "videos segments classes classes"]]:
    """1 where the teacher of the first modality labels the row's class, and the other the column's.

    Args:
      pseudo_label: `audio` and `visual`, 0 or 1.
    """
    pairs = {name: name.split("_") for name in MAPS}
    return {
        name: pseudo_label[own][..., :, None] * pseudo_label[other][..., None, :]
        for name, (own, other) in pairs.items()
    }


def over_segments(
    value: Float[Array, "videos segments ..."], weight: Weight, lengths: Lengths
) -> Float[Array, ""]:
    """The mean over the segments that are there, of videos of weight 1."""
    value = value.astype(jnp.float32)
    axes = tuple(range(1, value.ndim))
    return weighted_mean(value.mean(axis=axes, where=present(lengths, value)), weight)
