"""The hybrid attention network's encoder: self- and cross-modal attention over segments.

Tian, Li and Xu, ECCV 2020, section 4.2 (HAN); Lai, Chen and Wang, NeurIPS 2023
(VALOR: sequential update, several layers, pre-norm).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.attention import Attention
from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear
from avvp_jax.nn.time_mask import Lengths

Stream = Float[Array, "videos segments width"]
Pair = Float[Array, "videos 2 segments width"]  # the audio and the visual stream, stacked
StreamOrPair = Float[Array, "videos *pair segments width"]


class HybridLayer(nnx.Module):
    """Updates one stream by attention to itself and to the other; both directions share weights.

    Both attentions take their queries from the layer's input.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        *,
        dropout: float,
        norm: Literal["post", "pre"],
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        self.self_attention = Attention(
            width, heads, dropout=dropout, arithmetic=arithmetic, rngs=rngs
        )
        self.cross_attention = Attention(
            width, heads, dropout=dropout, arithmetic=arithmetic, rngs=rngs
        )
        self.linear1 = linear(width, feed_forward, arithmetic=arithmetic, rngs=rngs)
        self.linear2 = linear(feed_forward, width, arithmetic=arithmetic, rngs=rngs)
        self.norm1 = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.norm2 = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.dropout = dropout
        self.pre_norm = norm == "pre"

    def update_pair(self, pair: Pair, drop: Dropout = NO_DROPOUT, lengths: Lengths = None) -> Pair:
        """Updates both streams in parallel: each attends to the other's input to this layer."""
        query = self._query(pair)
        update = self._attend(self.self_attention.to_itself, (query,), drop, lengths)
        if self.pre_norm:  # cross-modal queries are normalised, keys and values are not
            attend, read = self.cross_attention.to_context, (query, pair[:, ::-1])
        else:
            attend, read = self.cross_attention.to_each_other, (query,)
        update = update + self._attend(attend, read, drop, lengths)
        return self._update(pair, update, drop)

    def update_from(
        self, own: Stream, other: Stream, drop: Dropout = NO_DROPOUT, lengths: Lengths = None
    ) -> Stream:
        """Updates `own`, which attends to itself and to `other`."""
        query = self._query(own)
        update = self._attend(self.self_attention.to_itself, (query,), drop, lengths)
        cross = self._attend(self.cross_attention.to_context, (query, other), drop, lengths)
        return self._update(own, update + cross, drop)

    def update_alone(
        self, own: StreamOrPair, drop: Dropout = NO_DROPOUT, lengths: Lengths = None
    ) -> StreamOrPair:
        """Updates `own` by self-attention only, without cross-modal attention."""
        update = self._attend(self.self_attention.to_itself, (self._query(own),), drop, lengths)
        return self._update(own, update, drop)

    def _query(self, own: StreamOrPair) -> StreamOrPair:
        return self.norm1(own) if self.pre_norm else own

    def _attend(
        self, attend: Callable, streams: tuple[StreamOrPair, ...], drop: Dropout, lengths: Lengths
    ) -> StreamOrPair:
        return drop(attend(*streams, drop, lengths=lengths), self.dropout)

    def _update(self, own: StreamOrPair, update: StreamOrPair, drop: Dropout) -> StreamOrPair:
        """Adds the attention's update to `own`, then that of the feed-forward network."""
        feed = partial(
            feed_forward, inner=self.linear1, outer=self.linear2, rate=self.dropout, drop=drop
        )
        own = own + update
        if self.pre_norm:
            return own + feed(self.norm2(own))
        own = self.norm1(own)
        return self.norm2(own + feed(own))


class HybridEncoder(nnx.Module):
    """A stack of hybrid layers over the audio and the visual stream.

    order="parallel" (HAN, MA, JoMoLD): both streams attend to each other's input to the layer.
    order="sequential" (VALOR): audio is updated first; visual attends to the updated audio.
    norm="pre" adds a norm per stream after the last layer.
    All layers start as copies of the first one, as in the published programs (CMPAE's has one, and
    would draw each).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        layers: int,
        *,
        dropout: float,
        order: Literal["parallel", "sequential"],
        norm: Literal["post", "pre"],
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        first = HybridLayer(
            width, heads, feed_forward, dropout=dropout, norm=norm, arithmetic=arithmetic, rngs=rngs
        )
        self.layers = copies(first, layers)
        if norm == "pre":
            self.final_norm_a = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
            self.final_norm_v = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.pre_norm = norm == "pre"
        self.sequential = order == "sequential"

    def __call__(
        self,
        audio: Stream,
        visual: Stream,
        key: PRNGKeyArray | None = None,
        lengths: Lengths = None,
    ) -> tuple[Stream, Stream]:
        """Both streams after all layers.

        Args:
          key: for dropout; None in evaluation.
          lengths: of the videos, in both streams.
        """

        def update(layer: HybridLayer, audio: Stream, visual: Stream, drop: Dropout):
            if self.sequential:
                audio = layer.update_from(audio, visual, drop, lengths)
                return audio, layer.update_from(visual, audio, drop, lengths)
            # Stacked, so that both directions share each matrix product.
            pair = layer.update_pair(jnp.stack([audio, visual], axis=1), drop, lengths)
            return pair[:, 0], pair[:, 1]

        return self._through(update, audio, visual, key, attentions=2)

    def without_cross_attention(
        self,
        audio: Stream,
        visual: Stream,
        key: PRNGKeyArray | None = None,
        lengths: Lengths = None,
    ) -> tuple[Stream, Stream]:
        """Both streams after all layers, with self-attention only: neither attends to the other.

        JoMoLD's noise estimator is such a network (Cheng et al., ECCV 2022).
        """

        def update(layer: HybridLayer, audio: Stream, visual: Stream, drop: Dropout):
            if self.sequential:
                audio = layer.update_alone(audio, drop, lengths)
                return audio, layer.update_alone(visual, drop, lengths)
            pair = layer.update_alone(jnp.stack([audio, visual], axis=1), drop, lengths)
            return pair[:, 0], pair[:, 1]

        return self._through(update, audio, visual, key, attentions=1)

    def _through(
        self,
        update: Callable[..., tuple[Stream, Stream]],
        audio: Stream,
        visual: Stream,
        key: PRNGKeyArray | None,
        attentions: int,
    ) -> tuple[Stream, Stream]:
        """Both streams, updated by all layers, each with so many attentions."""
        entries = 2 * dropout_entries(self.layers[0], audio.shape[1], attentions)
        drop = Dropout.drawn(key, len(audio), entries * len(self.layers))
        audio, visual = through_layers(self.layers, update, (audio, visual), drop, entries)
        if self.pre_norm:
            return self.final_norm_a(audio), self.final_norm_v(visual)
        return audio, visual


def copies(first: nnx.Module, count: int) -> nnx.List:
    """`first` and its copies, `count` modules in all, each with weights of its own."""
    return nnx.List([first, *(nnx.clone(first) for _ in range(count - 1))])


def through_layers(
    layers: Sequence[nnx.Module], update: Callable, streams: PyTree, drop: Dropout, entries: int
) -> PyTree:
    """Streams after `update(layer, *streams, drop)` by each of several equal layers.

    For a TPU the layers are a loop, because products take so long to compile there; elsewhere a
    loop would only copy.

    Args:
      entries: how many numbers of a video a layer drops or keeps.
    """

    def one_by_one(streams):
        for layer in layers:
            streams = update(layer, *streams, drop)
        return streams

    def in_a_loop(streams):
        graphdef = nnx.graphdef(layers[0])
        states = jax.tree.map(lambda *x: jnp.stack(x), *map(nnx.state, layers))

        def body(streams, each):
            state, index = each
            own = drop.part(index * entries, entries)
            return update(nnx.merge(graphdef, state), *streams, own), None

        return jax.lax.scan(body, streams, (states, jnp.arange(len(layers))))[0]

    if len(layers) < 2:
        return one_by_one(streams)
    return jax.lax.platform_dependent(streams, tpu=in_a_loop, default=one_by_one)


def feed_forward(
    x: StreamOrPair, inner: nnx.Linear, outer: nnx.Linear, rate: float, drop: Dropout
) -> StreamOrPair:
    """A position-wise feed-forward network: linear, ReLU, dropout, linear, dropout."""
    hidden = drop(jax.nn.relu(inner(x)), rate)
    return drop(outer(hidden), rate)


def dropout_entries(layer: nnx.Module, segments: int, attentions: int) -> int:
    """How many numbers of one stream a transformer layer drops or keeps.

    They are each attention's weights and output, and the feed-forward's hidden units and output;
    all attentions of a layer have as many heads.
    """
    if not layer.dropout:
        return 0
    width, hidden = layer.linear1.in_features, layer.linear1.out_features
    attended = layer.self_attention.heads * segments**2 + segments * width
    return attentions * attended + segments * (hidden + width)
