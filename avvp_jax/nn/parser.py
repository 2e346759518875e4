"""The parser network: segment tokens, hybrid encoder, attentive MMIL pooling."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.layers import dropout as drop
from avvp_jax.nn.layers import linear, split_key

Features = dict[str, Float[Array, "videos segments _"]]
PROBABILITIES = ("frame_prob", "global_prob", "audio_prob", "visual_prob")


class SegmentPooling(nnx.Module):
    """Class probabilities of segments, and how much each segment counts for its video."""

    def __init__(self, width: int, classes: int, *, dtype, rngs: nnx.Rngs):
        self.fc_prob = linear(width, classes, dtype=dtype, rngs=rngs)
        self.fc_frame_att = linear(width, classes, dtype=dtype, rngs=rngs)

    def over_time(
        self, x: Float[Array, "videos segments *modalities width"]
    ) -> dict[str, Float[Array, "videos segments *modalities classes"]]:
        """frame_logits, frame_prob, and time_weighted: the share of each in the sum over time."""
        frame_logits = self.fc_prob(x).astype(jnp.float32)
        frame_prob = jax.nn.sigmoid(frame_logits)
        time_weight = jax.nn.softmax(self.fc_frame_att(x).astype(jnp.float32), axis=1)
        return {
            "frame_logits": frame_logits,
            "frame_prob": frame_prob,
            "time_weighted": time_weight * frame_prob,
        }


class MMIL(SegmentPooling):
    """Attentive multimodal multiple-instance pooling (HAN, ECCV 2020, section 4.3)."""

    def __init__(self, width: int, classes: int, *, dtype, rngs: nnx.Rngs):
        super().__init__(width, classes, dtype=dtype, rngs=rngs)
        self.fc_av_att = linear(width, classes, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        audio: Float[Array, "videos segments width"],
        visual: Float[Array, "videos segments width"],
    ) -> dict[str, Float[Array, "..."]]:
        """Probabilities of a batch, always float32:

        frame_logits, frame_prob [videos, segments, 2, classes] and global_prob,
        audio_prob, visual_prob [videos, classes].
        """
        x = jnp.stack([audio, visual], axis=2)
        output = self.over_time(x)
        time_weighted = output.pop("time_weighted")
        modal_weight = jax.nn.softmax(self.fc_av_att(x).astype(jnp.float32), axis=2)
        modality_prob = time_weighted.sum(axis=1)
        return output | {
            "global_prob": (time_weighted * modal_weight).sum(axis=(1, 2)),
            "audio_prob": modality_prob[:, 0],
            "visual_prob": modality_prob[:, 1],
        }


class VisualTokens(nnx.Module):
    """Frames and snippets of a segment fused into one token."""

    def __init__(self, frame_width: int, snippet_width: int, width: int, *, dtype, rngs: nnx.Rngs):
        self.fc_v = linear(frame_width, width, dtype=dtype, rngs=rngs)
        self.fc_st = linear(snippet_width, width, dtype=dtype, rngs=rngs)
        self.fc_fusion = linear(2 * width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        frames: Float[Array, "videos segments frame_width"],
        snippets: Float[Array, "videos segments snippet_width"],
    ) -> Float[Array, "videos segments width"]:
        """Tokens of both, projected apart and then together."""
        fused = [self.fc_v(frames), self.fc_st(snippets)]
        return self.fc_fusion(jnp.concatenate(fused, axis=-1))


class Parser(nnx.Module):
    """The parser that HAN, MA, JoMoLD and VALOR configure, and DHHN extends.

    Args:
      stream_widths: widths of the audio, visual and snippet features.
      classes: how many the heads tell apart.
      width, heads, feed_forward, layers: of the hybrid encoder.
      dropout: every dropout inside the encoder's layers.
      visual_dropout: on the visual stream just before MMIL (JoMoLD: 0.5).
      order, norm: see HybridEncoder.
      cross_attention: False leaves out the cross-modal term (JoMoLD's noise estimator).
      dtype: compute dtype; parameters and probabilities are float32.
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
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = jnp.dtype(dtype)
        self.fc_a = linear(audio_width, width, dtype=compute, rngs=rngs)
        self.visual_tokens = VisualTokens(
            visual_width, snippet_width, width, dtype=compute, rngs=rngs
        )
        self.encoder = HybridEncoder(
            width,
            heads,
            feed_forward,
            layers,
            dropout=dropout,
            order=order,
            norm=norm,
            dtype=compute,
            rngs=rngs,
        )
        self.mmil = MMIL(width, classes, dtype=compute, rngs=rngs)
        self.visual_dropout = visual_dropout
        self.cross_attention = cross_attention

    def __call__(
        self,
        features: Features,
        key: PRNGKeyArray | None = None,
        *,
        cross_attention: bool | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Parses a batch of videos.

        Args:
          features: `audio`, `visual` and `snippet`, pooled to segments.
          key: for dropout; None in evaluation.
          cross_attention: overrides the network's own setting.

        Returns:
          MMIL's outputs, and the streams that contrastive losses compare:
          audio_tokens, visual_tokens (before the encoder), audio_stream,
          visual_stream (after it), each [videos, segments, width].
        """
        if cross_attention is None:
            cross_attention = self.cross_attention
        encoder_key, visual_key = split_key(key, 2)
        audio_tokens, visual_tokens = self.tokens(features)
        audio, visual = self.encoder(
            audio_tokens, visual_tokens, encoder_key, cross_attention=cross_attention
        )
        pooled = self.mmil(audio, drop(visual, self.visual_dropout, visual_key))
        return pooled | {
            "audio_tokens": audio_tokens,
            "visual_tokens": visual_tokens,
            "audio_stream": audio,
            "visual_stream": visual,
        }

    def tokens(
        self, features: Features
    ) -> tuple[Float[Array, "videos segments width"], Float[Array, "videos segments width"]]:
        """What the encoder reads: audio and visual tokens."""
        audio = self.fc_a(features["audio"])
        return audio, self.visual_tokens(features["visual"], features["snippet"])
