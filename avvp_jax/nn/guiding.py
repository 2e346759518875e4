"""DHHN's guiding networks. Each reads one modality; the parser is trained to agree with them.

Jiang et al., ACM Multimedia 2022.
"""

from typing import Literal

from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.attention import Attention
from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.hybrid import copies, dropout_entries, feed_forward
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear
from avvp_jax.nn.parser import Features, VisualTokens
from avvp_jax.nn.pooling import SegmentPooling
from avvp_jax.nn.time_mask import Lengths, cleared

Stream = Float[Array, "videos segments width"]


class GuidingNetwork(nnx.Module):
    """A network of one modality: tokens, a self-attention encoder run repeatedly, and pooling.

    Args:
      stream_widths: widths of the audio, visual and snippet features.
      classes: number of classes.
      modality: the modality that it reads.
      width, dtype, precision: as in Parser.
      heads, feed_forward, dropout: of an encoder layer.
      layers: number of encoder layers, which start as copies of one.
      repeats: how often x becomes x + encoder(x), always with the same weights.
    """

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        modality: Literal["audio", "visual"],
        *,
        width: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        layers: int,
        repeats: int,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = Arithmetic.named(dtype, precision)
        if modality == "audio":
            self.fc_a = linear(audio_width, width, arithmetic=compute, rngs=rngs)
        else:
            self.visual_tokens = VisualTokens(
                visual_width, snippet_width, width, arithmetic=compute, rngs=rngs
            )
        first = EncoderLayer(
            width, heads, feed_forward, dropout=dropout, arithmetic=compute, rngs=rngs
        )
        self.self_encoder = GuidingEncoder(first, layers)
        self.pooling = SegmentPooling(width, classes, arithmetic=compute, rngs=rngs)
        self.modality, self.repeats = modality, repeats

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """frame_prob [videos, segments, classes] and prob [videos, classes]; see Parser."""
        features = cleared(features, lengths)
        if self.modality == "audio":
            x = self.fc_a(features["audio"])
        else:
            x = self.visual_tokens(features["visual"], features["snippet"])
        layers = self.self_encoder.layers
        entries = self.repeats * sum(dropout_entries(y, x.shape[1], 1) for y in layers)
        drop = Dropout.drawn(key, len(x), entries)
        for _ in range(self.repeats):
            x = x + self.self_encoder(x, drop, lengths)
        return self.pooling(x, lengths)


class GuidingEncoder(nnx.Module):
    """A stack of transformer encoder layers that start as copies of `first`."""

    def __init__(self, first: "EncoderLayer", layers: int):
        self.layers = copies(first, layers)

    def __call__(self, x: Stream, drop: Dropout = NO_DROPOUT, lengths: Lengths = None) -> Stream:
        for layer in self.layers:
            x = layer(x, drop, lengths)
        return x


class EncoderLayer(nnx.Module):
    """A post-norm transformer encoder layer (Vaswani et al. 2017, section 3.1)."""

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        *,
        dropout: float,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        self.self_attention = Attention(
            width, heads, dropout=dropout, arithmetic=arithmetic, rngs=rngs
        )
        self.linear1 = linear(width, feed_forward, arithmetic=arithmetic, rngs=rngs)
        self.linear2 = linear(feed_forward, width, arithmetic=arithmetic, rngs=rngs)
        self.norm1 = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.norm2 = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.dropout = dropout

    def __call__(self, x: Stream, drop: Dropout = NO_DROPOUT, lengths: Lengths = None) -> Stream:
        update = self.self_attention.to_itself(x, drop, lengths=lengths)
        x = self.norm1(x + drop(update, self.dropout))
        return self.norm2(x + feed_forward(x, self.linear1, self.linear2, self.dropout, drop))
