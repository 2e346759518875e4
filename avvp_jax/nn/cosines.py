"""Cosines of vectors, in pairs or each with each.

A norm is at least 1e-8, as in PyTorch, so that the cosine of a zero vector is 0. The bound is under
the root, whose slope at 0 is infinite: a zero vector has a gradient too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SHORTEST = 1e-8


def cosine(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Cosines of vectors on the last axis, float32. Other axes are broadcast."""
    x, y = x.astype(jnp.float32), y.astype(jnp.float32)
    return (x * y).sum(axis=-1) / (_norm(x) * _norm(y))[..., 0]


def cosines(
    x: Float[Array, "videos rows width"],
    y: Float[Array, "videos columns width"],
    precision: jax.lax.Precision,
) -> Float[Array, "videos rows columns"]:
    """Cosines of each row of `x` with each of `y`, float32."""
    x, y = (z / _norm(z) for z in (x.astype(jnp.float32), y.astype(jnp.float32)))
    return jnp.einsum("brd,bcd->brc", x, y, precision=precision)


def _norm(x: Float[Array, "*vectors width"]) -> Float[Array, "*vectors 1"]:
    return jnp.sqrt(jnp.maximum(jnp.square(x).sum(axis=-1, keepdims=True), SHORTEST**2))
