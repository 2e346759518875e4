"""The hybrid attention network's encoder: self- and cross-modal attention over segments.

Tian, Li and Xu, ECCV 2020, section 4.2 (HAN); Lai, Chen and Wang, NeurIPS 2023
(VALOR: sequential update, several layers, pre-norm).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from avvp_jax.nn.layers import Arithmetic, Attention, dropout, keys_of_parts, layer_norm, linear

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

    def update_pair(self, pair: Pair, key: PRNGKeyArray | None = None) -> Pair:
        """Updates both streams in parallel: each attends to the other's input to this layer."""
        cross_key, self_key, ff_key = keys_of_parts(key, 3)
        query = self._query(pair)
        update = self._attend(self.self_attention.to_itself, query, key=self_key)
        if self.pre_norm:  # cross-modal queries are normalised, keys and values are not
            attend, read = self.cross_attention.to_context, (query, pair[:, ::-1])
        else:
            attend, read = self.cross_attention.to_each_other, (query,)
        update = update + self._attend(attend, *read, key=cross_key)
        return self._update(pair, update, ff_key)

    def update_from(self, own: Stream, other: Stream, key: PRNGKeyArray | None = None) -> Stream:
        """Updates `own`, which attends to itself and to `other`."""
        cross_key, self_key, ff_key = keys_of_parts(key, 3)
        query = self._query(own)
        update = self._attend(self.self_attention.to_itself, query, key=self_key)
        cross = self._attend(self.cross_attention.to_context, query, other, key=cross_key)
        return self._update(own, update + cross, ff_key)

    def update_alone(self, own: StreamOrPair, key: PRNGKeyArray | None = None) -> StreamOrPair:
        """Updates `own` by self-attention only, without cross-modal attention."""
        _, self_key, ff_key = keys_of_parts(key, 3)
        update = self._attend(self.self_attention.to_itself, self._query(own), key=self_key)
        return self._update(own, update, ff_key)

    def _query(self, own: StreamOrPair) -> StreamOrPair:
        return self.norm1(own) if self.pre_norm else own

    def _attend(
        self, attend: Callable, *streams: StreamOrPair, key: PRNGKeyArray | None
    ) -> StreamOrPair:
        weights_key, out_key = keys_of_parts(key, 2)
        return dropout(attend(*streams, weights_key), self.dropout, out_key)

    def _update(
        self, own: StreamOrPair, update: StreamOrPair, key: PRNGKeyArray | None
    ) -> StreamOrPair:
        """Adds the attention's update to `own`, then that of the feed-forward network."""
        feed = partial(
            feed_forward, inner=self.linear1, outer=self.linear2, rate=self.dropout, key=key
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
    All layers start as copies of the first one, as in the published programs.
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
        self, audio: Stream, visual: Stream, key: PRNGKeyArray | None = None
    ) -> tuple[Stream, Stream]:
        """Both streams after all layers."""
        for layer, layer_key in self._layers(key):
            if self.sequential:
                audio_key, visual_key = keys_of_parts(layer_key, 2)
                audio = layer.update_from(audio, visual, audio_key)
                visual = layer.update_from(visual, audio, visual_key)
            else:
                # Stacked, so that both directions share each matrix product.
                pair = layer.update_pair(jnp.stack([audio, visual], axis=1), layer_key)
                audio, visual = pair[:, 0], pair[:, 1]
        return self._normalise(audio, visual)

    def without_cross_attention(
        self, audio: Stream, visual: Stream, key: PRNGKeyArray | None = None
    ) -> tuple[Stream, Stream]:
        """Both streams after all layers, with self-attention only: neither attends to the other.

        JoMoLD's noise estimator is such a network (Cheng et al., ECCV 2022). Dropout draws the
        same masks as it does with cross-modal attention.
        """
        for layer, layer_key in self._layers(key):
            if self.sequential:
                audio_key, visual_key = keys_of_parts(layer_key, 2)
                audio = layer.update_alone(audio, audio_key)
                visual = layer.update_alone(visual, visual_key)
            else:
                pair = layer.update_alone(jnp.stack([audio, visual], axis=1), layer_key)
                audio, visual = pair[:, 0], pair[:, 1]
        return self._normalise(audio, visual)

    def _layers(self, key: PRNGKeyArray | None):
        """The layers with their keys."""
        return zip(self.layers, keys_of_parts(key, len(self.layers)), strict=True)

    def _normalise(self, audio: Stream, visual: Stream) -> tuple[Stream, Stream]:
        if self.pre_norm:
            return self.final_norm_a(audio), self.final_norm_v(visual)
        return audio, visual


def copies(first: nnx.Module, count: int) -> nnx.List:
    """`first` and its copies, `count` modules in all, each with weights of its own."""
    return nnx.List([first, *(nnx.clone(first) for _ in range(count - 1))])


def feed_forward(
    x: StreamOrPair, inner: nnx.Linear, outer: nnx.Linear, rate: float, key: PRNGKeyArray | None
) -> StreamOrPair:
    """A position-wise feed-forward network: linear, ReLU, dropout, linear, dropout."""
    hidden_key, out_key = keys_of_parts(key, 2)
    hidden = dropout(jax.nn.relu(inner(x)), rate, hidden_key)
    return dropout(outer(hidden), rate, out_key)
