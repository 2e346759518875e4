"""Blocks of attention in which only queries are normalised, each projection with its own weights.

Yu et al., "MM-Pyramid: Multimodal Pyramid Attentional Network for Audio-Visual Event Localization
and Video Parsing", ACM Multimedia 2022.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from avvp_jax.nn.attention_products import attention_logits, mixed_values
from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear
from avvp_jax.nn.time_mask import Lengths

QUERY, KEY, VALUE, OUTPUT = range(4)

# Which keys each query sees, of a shape that is broadcast to logits; None: all.
Seen = Bool[Array, "..."] | None


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What all blocks of a network have in common.

    Attributes:
      width, heads: of tokens and attention.
      feed_forward: hidden units.
      dropout: rate after attention and inside and after the feed-forward network.
      attention_dropout: rate on the weights of attention.
      arithmetic: how all of it is computed.
    """

    width: int
    heads: int
    feed_forward: int
    dropout: float
    attention_dropout: float
    arithmetic: Arithmetic


class SeparateAttention(nnx.Module):
    """Multi-head attention with a linear layer each for queries, keys, values and the output.

    The four start equal, as in the published program.
    """

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        width = sizes.width
        first = linear(width, width, arithmetic=sizes.arithmetic, rngs=rngs)
        self.linears = nnx.List([first, *(nnx.clone(first) for _ in range(OUTPUT))])
        self.heads, self.precision = sizes.heads, sizes.arithmetic.precision
        self.dropout = sizes.attention_dropout

    def __call__(
        self,
        query: Float[Array, "*queries time width"],
        context: Float[Array, "*batch steps width"],
        seen: Seen = None,
        drop: Dropout = NO_DROPOUT,
    ) -> Float[Array, "*batch time width"]:
        """Attends to `context`; queries may have axes of length 1 where it has longer ones."""
        logits = self.scores(query, context)
        weights = jax.nn.softmax(logits, axis=-1, where=seen).astype(context.dtype)
        values = self._of_heads(VALUE, context)
        mixed = mixed_values(drop(weights, self.dropout), values, self.precision)
        return self.linears[OUTPUT](mixed.reshape(*mixed.shape[:-2], -1))

    def scores(
        self,
        query: Float[Array, "*queries time width"],
        context: Float[Array, "*batch steps width"],
    ) -> Float[Array, "*batch heads time steps"]:
        """What attention's softmax is taken of."""
        q, k = self._of_heads(QUERY, query), self._of_heads(KEY, context)
        return attention_logits(q, k, self.precision)

    def _of_heads(
        self, place: int, x: Float[Array, "*batch time width"]
    ) -> Float[Array, "*batch time heads part"]:
        x = self.linears[place](x)
        return x.reshape(*x.shape[:-1], self.heads, -1)


class FeedForward(nnx.Module):
    """A position-wise feed-forward network: linear, ReLU, dropout, linear."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        width, hidden, arithmetic = sizes.width, sizes.feed_forward, sizes.arithmetic
        self.inner = linear(width, hidden, arithmetic=arithmetic, rngs=rngs)
        self.outer = linear(hidden, width, arithmetic=arithmetic, rngs=rngs)
        self.dropout = sizes.dropout

    def __call__(
        self, x: Float[Array, "*batch time width"], drop: Dropout = NO_DROPOUT
    ) -> Float[Array, "*batch time width"]:
        return self.outer(drop(jax.nn.relu(self.inner(x)), self.dropout))


class QueryBlock(nnx.Module):
    """Attention and a feed-forward network, each added to the query.

    Only the query is normalised: keys and values are as they are, in self-attention too.

    Args:
      feed_forward: whose weights this block's own ones start as; None draws them.
    """

    def __init__(self, sizes: Sizes, feed_forward: FeedForward | None = None, *, rngs: nnx.Rngs):
        self.attention = SeparateAttention(sizes, rngs=rngs)
        self.feed_forward = (
            FeedForward(sizes, rngs=rngs) if feed_forward is None else nnx.clone(feed_forward)
        )
        norm_dtype = sizes.arithmetic.dtype
        self.norm1 = layer_norm(sizes.width, dtype=norm_dtype, rngs=rngs)
        self.norm2 = layer_norm(sizes.width, dtype=norm_dtype, rngs=rngs)
        self.dropout = sizes.dropout

    def __call__(
        self,
        query: Float[Array, "*queries time width"],
        context: Float[Array, "*batch steps width"],
        seen: Seen = None,
        drop: Dropout = NO_DROPOUT,
    ) -> Float[Array, "*batch time width"]:
        """The query after both; see SeparateAttention."""
        return self.fed(self.attended(query, context, seen, drop), drop)

    def attended(
        self,
        query: Float[Array, "*queries time width"],
        context: Float[Array, "*batch steps width"],
        seen: Seen = None,
        drop: Dropout = NO_DROPOUT,
    ) -> Float[Array, "*batch time width"]:
        """The query after attention alone."""
        update = self.attention(self.norm1(query), context, seen, drop)
        return query + drop(update, self.dropout)

    def fed(
        self, query: Float[Array, "*batch time width"], drop: Dropout = NO_DROPOUT
    ) -> Float[Array, "*batch time width"]:
        """An attended query after the feed-forward network."""
        return query + drop(self.feed_forward(self.norm2(query), drop), self.dropout)

    def entries(self, queries: int, keys: int) -> int:
        """How many numbers the block drops or keeps, for so many queries that see so many keys."""
        attention, inner = self.attention, self.feed_forward.inner
        weights = attention.heads * queries * keys if attention.dropout else 0
        return weights + queries * (2 * inner.in_features + inner.out_features) * bool(self.dropout)


def within_band(steps: int, reach: int, lengths: Lengths = None) -> Bool[Array, "..."]:
    """Which keys are at most `reach` steps from each query: [time, steps].

    Args:
      lengths: how many steps of each video are there. The result is [videos, 1, time, steps] then,
        without keys that are not there, except that each query sees itself at least.
    """
    step = np.arange(steps)
    near = jnp.asarray(np.abs(step[:, None] - step) <= reach)
    if lengths is None:
        return near
    there = step < jnp.reshape(lengths, (-1, 1, 1, 1))
    return near & there | jnp.eye(steps, dtype=bool)
