"""The two products of attention: of queries with keys, and of weights with values."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Steps of a sequence up to which a TPU multiplies it by sums, see _by_device.
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

    def matrices(q, k):
        return _logits_of_matrices(_heads_first(q), _heads_first(k), precision)

    logits = _by_device(products, matrices, _logits_by_sums, q, k) * q.shape[-1] ** -0.5
    return logits.astype(jnp.float32)


def mixed_values(
    weights: Float[Array, "*batch heads time steps"],
    v: Float[Array, "*batch steps heads part"],
    precision: jax.lax.Precision,
) -> Float[Array, "*batch time heads part"]:
    """The values, weighted by attention."""
    products = functools.partial(jnp.einsum, "...hts,...shd->...thd", precision=precision)

    def matrices(weights, v):
        return _heads_first(_mixed_matrices(weights, _heads_first(v), precision))

    return _by_device(products, matrices, _mixed_by_sums, weights, v)


def _heads_first(
    x: Float[Array, "*batch time heads part"],
) -> Float[Array, "*batch heads time part"]:
    """Heads and time exchanged, either way."""
    return jnp.swapaxes(x, -3, -2)


def _by_device(products: Callable, matrices: Callable, sums: Callable, x: Array, y: Array) -> Array:
    """Products of attention, as each kind of device computes them best.

    Where both have one dtype and the same leading axes, a CPU computes them head by head as
    matrices, whose gradients are such products too. Of a few segments a TPU computes them as sums
    that XLA fuses: they are too small for its matrix unit, and each takes as long to compile as a
    large one. Sums are of float32, whatever the precision and the dtype. On a CPU they are far
    slower than products; for a GPU XLA (of JAX 0.10) fails to compile them at some widths.
    """

    def in_float32(*both):
        return sums(*(array.astype(jnp.float32) for array in both)).astype(x.dtype)

    ways = {}
    if x.shape[:-3] == y.shape[:-3] and x.dtype == y.dtype:
        ways["cpu"] = matrices
    if y.shape[-3] <= _FEW_STEPS:
        ways["tpu"] = in_float32
    return jax.lax.platform_dependent(x, y, **ways, default=products)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _logits_of_matrices(
    q: Float[Array, "*heads time part"],
    k: Float[Array, "*heads steps part"],
    precision: jax.lax.Precision,
) -> Float[Array, "*heads time steps"]:
    """`q @ k.T` of each head.

    JAX's own rules give some gradients transposed, and such products of ten segments have a fifth
    of the others' speed on a CPU.
    """
    return jnp.matmul(q, jnp.matrix_transpose(k), precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _mixed_matrices(
    weights: Float[Array, "*heads time steps"],
    v: Float[Array, "*heads steps part"],
    precision: jax.lax.Precision,
) -> Float[Array, "*heads time part"]:
    """`weights @ v` of each head."""
    return jnp.matmul(weights, v, precision=precision)


def _logits_gradient(precision, saved, upstream):
    q, k = saved
    of_k = _mixed_matrices(_turned(upstream), q, precision)
    return _mixed_matrices(upstream, k, precision), of_k


def _mixed_gradient(precision, saved, upstream):
    weights, v = saved
    of_v = _mixed_matrices(_turned(weights), upstream, precision)
    return _logits_of_matrices(upstream, v, precision), of_v


def _turned(weights: Float[Array, "*heads time steps"]) -> Float[Array, "*heads steps time"]:
    # A barrier, because XLA would make it part of the product, which its fast ones do not know.
    return jax.lax.optimization_barrier(jnp.matrix_transpose(weights))


_logits_of_matrices.defvjp(
    lambda q, k, precision: (_logits_of_matrices(q, k, precision), (q, k)), _logits_gradient
)
_mixed_matrices.defvjp(
    lambda weights, v, precision: (_mixed_matrices(weights, v, precision), (weights, v)),
    _mixed_gradient,
)


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
