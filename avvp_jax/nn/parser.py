"""The parser network: segment tokens, a hybrid encoder, and MMIL pooling."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.dropout import dropout as drop
from avvp_jax.nn.dropout import keys_of_parts
from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.layers import Arithmetic, linear
from avvp_jax.nn.pooling import MMIL
from avvp_jax.nn.time_mask import Lengths, cleared

# By role: [videos, segments, width], visual ones also [videos, segments, frames, width]. A type
# checker looks at one value of a dict, and at all leaves of a tree.
Features = PyTree[Float[ArrayLike, "videos segments ..."]]


def frames_of(
    rows: Float[ArrayLike, "videos segments *frames _"], width: int
) -> Float[ArrayLike, "videos segments *kept {width}"]:
    """The frames of each segment, float32; they may stand side by side in its row, and be float16.

    Rows of one frame, or of an average, stay as they are.
    """
    rows = jnp.asarray(rows, jnp.float32)
    if rows.ndim == 4 or rows.shape[-1] == width:
        return rows
    return rows.reshape(*rows.shape[:2], -1, width)


class VisualTokens(nnx.Module):
    """Fuses the frame and snippet features of each segment into one token."""

    def __init__(
        self,
        frame_width: int,
        snippet_width: int,
        width: int,
        *,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        self.fc_v = linear(frame_width, width, arithmetic=arithmetic, rngs=rngs)
        self.fc_st = linear(snippet_width, width, arithmetic=arithmetic, rngs=rngs)
        self.fc_fusion = linear(2 * width, width, arithmetic=arithmetic, rngs=rngs)

    def __call__(
        self,
        frames: Float[ArrayLike, "videos segments *frames _"],
        snippets: Float[ArrayLike, "videos segments snippet_width"],
    ) -> Float[Array, "videos segments width"]:
        """Projects both streams, concatenates them and projects the result.

        The frames of a segment are averaged, where they are not yet. That the published programs
        do so after the projection is the same, because it is linear.
        """
        frames = frames_of(frames, self.fc_v.in_features)
        frames = frames if frames.ndim == 3 else frames.mean(axis=2)
        fused = [self.fc_v(frames), self.fc_st(snippets)]
        return self.fc_fusion(jnp.concatenate(fused, axis=-1))


class Parser(nnx.Module):
    """The parser that HAN, MA, JoMoLD and VALOR use, each with arguments of its own.

    Args:
      stream_widths: widths of the audio, visual and snippet features.
      classes: number of classes.
      width, heads, feed_forward, layers: of the hybrid encoder.
      dropout: rate of all dropout inside the encoder's layers.
      visual_dropout: rate of dropout on the visual stream before MMIL (JoMoLD: 0.5).
      order, norm: see HybridEncoder.
      cross_attention: False leaves out cross-modal attention (JoMoLD's noise estimator).
      dtype: compute dtype; parameters and probabilities are float32.
      precision: of matrix products; see layers.PRECISIONS.
    """

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        heads: int,
        feed_forward: int,
        layers: int,
        dropout: float,
        visual_dropout: float,
        order: Literal["parallel", "sequential"],
        norm: Literal["post", "pre"],
        cross_attention: bool,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = Arithmetic.named(dtype, precision)
        self.fc_a = linear(audio_width, width, arithmetic=compute, rngs=rngs)
        self.visual_tokens = VisualTokens(
            visual_width, snippet_width, width, arithmetic=compute, rngs=rngs
        )
        self.encoder = HybridEncoder(
            width,
            heads,
            feed_forward,
            layers,
            dropout=dropout,
            order=order,
            norm=norm,
            arithmetic=compute,
            rngs=rngs,
        )
        self.mmil = MMIL(width, classes, arithmetic=compute, rngs=rngs)
        self.arithmetic = compute
        self.visual_dropout = visual_dropout
        self.cross_attention = cross_attention

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """Parses a batch of videos.

        Args:
          features: `audio`, `visual` and `snippet`, pooled to segments.
          key: for dropout; None in evaluation.
          lengths: how many segments of each video are there. What the others hold has no effect;
            their probabilities are 0, and what else is returned of them means nothing.

        Returns:
          MMIL's outputs, and the streams that contrastive losses compare, each
          [videos, segments, width]: audio_tokens and visual_tokens before the encoder,
          audio_stream and visual_stream after it.
        """
        if not self.cross_attention:
            return self.without_cross_attention(features, key, lengths=lengths)
        return self._parse(self.encoder, features, key, lengths)

    def without_cross_attention(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """Like a call, but without cross-modal attention (JoMoLD ranks losses this way)."""
        return self._parse(self.encoder.without_cross_attention, features, key, lengths)

    def _parse(
        self, encode: Callable, features: Features, key: PRNGKeyArray | None, lengths: Lengths
    ) -> PyTree[Float[Array, "videos ..."]]:
        features, (encoder_key, visual_key) = cleared(features, lengths), keys_of_parts(key, 2)
        audio_tokens = self.fc_a(features["audio"])
        visual_tokens = self.visual_tokens(features["visual"], features["snippet"])
        audio, visual = encode(audio_tokens, visual_tokens, encoder_key, lengths)
        pooled = self.mmil(audio, drop(visual, self.visual_dropout, visual_key), lengths)
        return pooled | {
            "audio_tokens": audio_tokens,
            "visual_tokens": visual_tokens,
            "audio_stream": audio,
            "visual_stream": visual,
        }
