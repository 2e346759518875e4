"""The two products of attention: of queries with keys, and of weights with values."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Steps of a sequence up to which a TPU multiplies it by sums, see _small.
_FEW_STEPS = 16


def attention_logits(
    q: Float[Array, "*queries time heads part"],
    k: Float[Array, "*batch steps heads part"],
    precision: jax.lax.Precision,
) -> Float[Array, "*batch heads time steps"]:
    """How much each query attends to each key, before the softmax: products scaled, in float32.

    Queries may have axes of length 1 where keys have longer ones.
    """
    products = functools.partial(jnp.einsum, "...thd,...shd->...hts", precision=precision)
    logits = _small(products, _logits_by_sums, q, k) * q.shape[-1] ** -0.5
    return logits.astype(jnp.float32)


def mixed_values(
    weights: Float[Array, "*batch heads time steps"],
    v: Float[Array, "*batch steps heads part"],
    precision: jax.lax.Precision,
) -> Float[Array, "*batch time heads part"]:
    """The values, weighted by attention."""
    products = functools.partial(jnp.einsum, "...hts,...shd->...thd", precision=precision)
    return _small(products, _mixed_by_sums, weights, v)


def _small(products: Callable, sums: Callable, x: Array, y: Array) -> Array:
    """Matrix products of attention: of a few segments for a TPU as sums that XLA fuses.

    They are too small for a TPU's matrix unit, and each takes as long to compile as a large one.
    Sums are of float32, whatever the precision and the dtype. On a CPU they are far slower than
    products; for a GPU XLA (of JAX 0.10) fails to compile them at some widths.
    """

    if y.shape[-3] > _FEW_STEPS:
        return products(x, y)

    def in_float32(*both):
        return sums(*(array.astype(jnp.float32) for array in both)).astype(x.dtype)

    return jax.lax.platform_dependent(x, y, tpu=in_float32, default=products)


def _logits_by_sums(
    q: Float[Array, "*queries time heads part"], k: Float[Array, "*batch steps heads part"]
) -> Float[Array, "*batch heads time steps"]:
    pairs = q[..., :, None, :, :] * k[..., None, :, :, :]
    return jnp.moveaxis(pairs.sum(axis=-1), -1, -3)


def _mixed_by_sums(
    weights: Float[Array, "*batch heads time steps"], v: Float[Array, "*batch steps heads part"]
) -> Float[Array, "*batch time heads part"]:
    weighted = jnp.moveaxis(weights, -3, -1)[..., None] * v[..., None, :, :, :]
    return weighted.sum(axis=-3)
