"""The time mask: which steps of a clip are there, where the clips of a batch differ in length.

A network's outputs for a short clip, and their gradients, are those of the clip alone. Without
lengths all steps are there, and no mask is in the program.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, PyTree, Shaped

# How many steps of each video are there, from 1 to all that arrays have; None: all of every video.
Lengths = Int[ArrayLike, " videos"] | None


def present(
    lengths: Lengths, x: Shaped[ArrayLike, "videos ..."], axis: int = 1
) -> Bool[Array, "videos ..."] | None:
    """Which steps of `x` are there, of a shape that is broadcast to it; None if all are.

    Args:
      axis: of the steps; not the first.
    """
    if lengths is None:
        return None
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    step = jnp.arange(x.shape[axis]).reshape(shape)
    return step < jnp.reshape(lengths, (-1, *[1] * (x.ndim - 1)))


def cleared(
    arrays: PyTree[Shaped[ArrayLike, "videos steps ..."]], lengths: Lengths
) -> PyTree[Shaped[ArrayLike, "videos steps ..."]]:
    """Arrays with zeros in the steps that are not there, whatever was in them."""
    if lengths is None:
        return arrays
    return jax.tree.map(lambda x: jnp.where(present(lengths, x), x, jnp.zeros_like(x)), arrays)
