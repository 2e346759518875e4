"""The hybrid attention network's encoder: self- and cross-modal attention over segments.

Tian, Li and Xu, ECCV 2020, section 4.2 (HAN); Lai, Chen and Wang, NeurIPS 2023
(VALOR: sequential update, several layers, pre-norm).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from avvp_jax.nn.layers import Attention, dropout, layer_norm, linear, split_key

Stream = Float[Array, "*videos segments width"]


class HybridLayer(nnx.Module):
    """Updates one stream from itself and from the other; the same weights serve both directions.

    cross=False makes it a transformer encoder layer, which has no cross-modal attention at all.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        *,
        dropout: float,
        norm: Literal["post", "pre"],
        dtype,
        rngs: nnx.Rngs,
        cross: bool = True,
    ):
        self.self_attention = Attention(width, heads, dropout=dropout, dtype=dtype, rngs=rngs)
        if cross:
            self.cross_attention = Attention(width, heads, dropout=dropout, dtype=dtype, rngs=rngs)
        self.linear1 = linear(width, feed_forward, dtype=dtype, rngs=rngs)
        self.linear2 = linear(feed_forward, width, dtype=dtype, rngs=rngs)
        self.norm1 = layer_norm(width, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(width, dtype=dtype, rngs=rngs)
        self.dropout = dropout
        self.pre_norm = norm == "pre"

    def __call__(
        self,
        own: Stream,
        other: Stream | None,
        key: PRNGKeyArray | None = None,
        *,
        cross_attention: bool = True,
    ) -> Stream:
        """`own` after the layer. Both attentions query with the layer's own input.

        Without `other`, `own` is [videos, 2, segments, width]: two streams that update each other.

        With `cross_attention` False the cross-modal term is left out (JoMoLD's
        noise estimator) and `other` is not looked at; its weights stay where they are.
        """
        cross_key, self_key, ff_key = split_key(key, 3)
        query = self.norm1(own) if self.pre_norm else own
        update = self._attend(self.self_attention, query, query, self_key)
        if cross_attention:
            if other is None and self.pre_norm:
                other = own[:, ::-1]
            update = update + self._attend(self.cross_attention, query, other, cross_key)
        if self.pre_norm:
            own = own + update
            return own + self._feed_forward(self.norm2(own), ff_key)
        own = self.norm1(own + update)
        return self.norm2(own + self._feed_forward(own, ff_key))

    def _attend(self, attention: Attention, query: Stream, context: Stream, key) -> Stream:
        weights_key, out_key = split_key(key, 2)
        return dropout(attention(query, context, weights_key), self.dropout, out_key)

    def _feed_forward(self, x: Stream, key) -> Stream:
        hidden_key, out_key = split_key(key, 2)
        hidden = dropout(jax.nn.relu(self.linear1(x)), self.dropout, hidden_key)
        return dropout(self.linear2(hidden), self.dropout, out_key)


class HybridEncoder(nnx.Module):
    """A stack of hybrid layers over the audio and the visual stream.

    order="parallel" (HAN, MA, JoMoLD): both directions read the layer's inputs.
    order="sequential" (VALOR): audio first; the visual update sees the updated audio.
    All layers start as copies of the first one, as the published programs clone theirs.
    norm="pre" adds a norm per stream after the last layer.
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
        dtype,
        rngs: nnx.Rngs,
    ):
        first = HybridLayer(
            width, heads, feed_forward, dropout=dropout, norm=norm, dtype=dtype, rngs=rngs
        )
        self.layers = nnx.List([first, *(nnx.clone(first) for _ in range(layers - 1))])
        if norm == "pre":
            self.final_norm_a = layer_norm(width, dtype=dtype, rngs=rngs)
            self.final_norm_v = layer_norm(width, dtype=dtype, rngs=rngs)
        self.pre_norm = norm == "pre"
        self.sequential = order == "sequential"

    def __call__(
        self,
        audio: Stream,
        visual: Stream,
        key: PRNGKeyArray | None = None,
        *,
        cross_attention: bool = True,
    ) -> tuple[Stream, Stream]:
        for layer, layer_key in zip(self.layers, split_key(key, len(self.layers)), strict=True):
            if self.sequential:
                audio_key, visual_key = split_key(layer_key, 2)
                audio = layer(audio, visual, audio_key, cross_attention=cross_attention)
                visual = layer(visual, audio, visual_key, cross_attention=cross_attention)
            else:
                # One call on a stacked axis: both directions share every matrix product.
                both = jnp.stack([audio, visual], axis=1)
                both = layer(both, None, layer_key, cross_attention=cross_attention)
                audio, visual = both[:, 0], both[:, 1]
        if self.pre_norm:
            audio, visual = self.final_norm_a(audio), self.final_norm_v(visual)
        return audio, visual
