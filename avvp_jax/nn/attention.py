"""Attention, self and cross, of segments and of the encoders' patches and words."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from avvp_jax.nn.attention_products import attention_logits, mixed_values
from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic, linear, product
from avvp_jax.nn.time_mask import Lengths, present

# Steps from which heads come first on all devices, see Attention._mixed_of_many. Parsers' sequences
# of segments are shorter; those of classes may be as long.
_MANY_STEPS = 64
# Queries and keys above which a CPU takes few heads at a time, see _few_heads. XLA (of JAX 0.10)
# needs twice the time for 257 keys as for 256.
_WHOLE, _HEADS = 256, 2

# What comes of an attention: its output alone, or with it the weights of all heads averaged.
Attended = (
    Float[Array, "*batch time width"]
    | tuple[Float[Array, "*batch time width"], Float[Array, "*batch time steps"]]
)


class Attention(nnx.Module):
    """Multi-head attention with one packed projection for query, key and value.

    Vaswani et al. 2017, section 3.2, as PyTorch's nn.MultiheadAttention computes it. The packed
    kernel is initialised Xavier uniform with the fans of its whole shape [width, 3 * width]. Its
    bias and the output's bias start at zero.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        xavier = nnx.initializers.xavier_uniform()
        self.in_kernel = nnx.Param(xavier(rngs.params(), (width, 3 * width), jnp.float32))
        self.in_bias = nnx.Param(jnp.zeros(3 * width, jnp.float32))
        zeros = nnx.initializers.zeros_init()
        self.out_proj = linear(width, width, arithmetic=arithmetic, rngs=rngs, bias_init=zeros)
        self.heads, self.dropout, self.arithmetic = heads, dropout, arithmetic

    def to_itself(
        self,
        x: Float[Array, "*batch time width"],
        drop: Dropout = NO_DROPOUT,
        bias: Float[ArrayLike, "..."] | None = None,
        lengths: Lengths = None,
        weights: bool = False,
    ) -> Attended:
        """Self-attention of every stream; streams may be stacked on a batch axis.

        Args:
          bias: is added to the logits, whose shape [*batch, heads, time, time] it is broadcast to.
          lengths: how many steps of a video are attended to, here and below.
          weights: whether to return the weights too, here and below: after dropout, averaged over
            the heads, float32, with a row for each query.
        """
        q, k, v = jnp.split(self._project(x, 0, 3 * x.shape[-1]), 3, axis=-1)
        return self._attend(q, k, v, drop, bias, lengths, weights)

    def to_each_other(
        self,
        pair: Float[Array, "videos 2 *more time width"],
        drop: Dropout = NO_DROPOUT,
        lengths: Lengths = None,
        weights: bool = False,
    ) -> Attended:
        """Cross-attention of two stacked streams: each attends to the other."""
        q, k, v = jnp.split(self._project(pair, 0, 3 * pair.shape[-1]), 3, axis=-1)
        return self._attend(q, k[:, ::-1], v[:, ::-1], drop, None, lengths, weights)

    def to_context(
        self,
        query: Float[Array, "*batch time width"],
        context: Float[Array, "*batch steps width"],
        drop: Dropout = NO_DROPOUT,
        lengths: Lengths = None,
    ) -> Float[Array, "*batch time width"]:
        """Cross-attention of `query` to `context`, which may have another length."""
        width = query.shape[-1]
        q = self._project(query, 0, width)
        k, v = jnp.split(self._project(context, width, 3 * width), 2, axis=-1)
        return self._attend(q, k, v, drop, None, lengths, False)

    def _attend(
        self,
        q: Float[Array, "*batch time width"],
        k: Float[Array, "*batch steps width"],
        v: Float[Array, "*batch steps width"],
        drop: Dropout,
        bias: Float[ArrayLike, "..."] | None,
        lengths: Lengths,
        averaged: bool,
    ) -> Attended:
        """Scaled dot-product attention for each head, and the output projection."""
        shape = q.shape
        q, k, v = (x.reshape(*x.shape[:-1], self.heads, -1) for x in (q, k, v))
        if k.shape[-3] >= _MANY_STEPS:
            mixed, weights = self._mixed_of_many(q, k, v, drop, bias, lengths, averaged)
            mixed = self.out_proj(mixed.reshape(shape))
            return mixed if weights is None else (mixed, _over_heads(weights()))
        precision = self.arithmetic.precision
        logits = attention_logits(q, k, precision)
        logits = logits if bias is None else logits + bias
        there = present(lengths, logits, -1)
        weights = jax.nn.softmax(logits, axis=-1, where=there).astype(q.dtype)
        weights = drop(weights, self.dropout)
        mixed = self.out_proj(mixed_values(weights, v, precision).reshape(shape))
        return (mixed, _over_heads(weights)) if averaged else mixed

    def _mixed_of_many(
        self,
        q: Float[Array, "*batch time heads part"],
        k: Float[Array, "*batch steps heads part"],
        v: Float[Array, "*batch steps heads part"],
        drop: Dropout,
        bias: Float[ArrayLike, "..."] | None,
        lengths: Lengths,
        averaged: bool,
    ) -> tuple[Float[Array, "*batch time heads part"], Callable[[], Array] | None]:
        """The values of long sequences mixed, in an order that a CPU computes in half the time.

        Also, if they are to be averaged, a function that returns the weights
        [*batch, heads, time, steps].

        Heads come before time, so that no product needs a transposed copy, and what is scaled and
        divided is smaller than the logits and their softmax.
        """
        einsum = functools.partial(jnp.einsum, precision=self.arithmetic.precision)
        q, k, v = (jnp.swapaxes(x, -3, -2) for x in (q * q.shape[-1] ** -0.5, k, v))

        def mix(q, k, v):
            logits = einsum("...td,...sd->...ts", q, k).astype(jnp.float32)
            logits = logits if bias is None else logits + bias
            there = present(lengths, logits, -1)
            logits = logits if there is None else jnp.where(there, logits, -jnp.inf)
            largest = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
            weights = jnp.exp(logits - largest)
            sums = weights.sum(axis=-1, keepdims=True)
            weights = drop(weights.astype(q.dtype), self.dropout)
            mixed = einsum("...ts,...sd->...td", weights, v) / sums
            return mixed.astype(q.dtype), lambda: weights / sums

        weights, alike = None, bias is None and lengths is None and not drop.drops(self.dropout)
        if alike and not averaged and min(q.shape[-2], k.shape[-2]) > _WHOLE:

            def whole(*heads):
                return mix(*heads)[0]

            few = functools.partial(_few_heads, whole)
            mixed = jax.lax.platform_dependent(q, k, v, cpu=few, default=whole)
        else:
            mixed, weights = mix(q, k, v)
        return jnp.swapaxes(mixed, -3, -2), weights if averaged else None

    def _project(
        self, x: Float[Array, "*batch time width"], start: int, stop: int
    ) -> Float[Array, "*batch time {stop-start}"]:
        """The part of the packed projection from column `start` to `stop`."""
        kernel, bias = self.in_kernel[:, start:stop], self.in_bias[start:stop]
        x, kernel, bias = (y.astype(self.arithmetic.dtype) for y in (x, kernel, bias))
        return product(x, kernel, self.arithmetic.precision) + bias


def _few_heads(
    mix: Callable[..., Array],
    q: Float[Array, "*heads time part"],
    k: Float[Array, "*heads steps part"],
    v: Float[Array, "*heads steps part"],
) -> Float[Array, "*heads time part"]:
    """What `mix` returns of all heads, a few after the other: their weights stay in the caches."""
    flat = tuple(x.reshape(-1, *x.shape[-2:]) for x in (q, k, v))
    return jax.lax.map(lambda heads: mix(*heads), flat, batch_size=_HEADS).reshape(q.shape)


def _over_heads(
    weights: Float[Array, "*batch heads time steps"],
) -> Float[Array, "*batch time steps"]:
    return weights.astype(jnp.float32).mean(axis=-3)
