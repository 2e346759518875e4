"""CMPAE's parser: presence and absence evidence of segments, and a global branch beside.

Gao, Chen and Xu, CVPR 2023; docs/methods.md says where paper and program differ.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.methods.cmpae.evidence import belief, global_belief
from avvp_jax.nn.dropout import dropout as drop
from avvp_jax.nn.dropout import keys_of_parts
from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.layers import Arithmetic, linear
from avvp_jax.nn.parser import Features, frames_of
from avvp_jax.nn.time_mask import Lengths, cleared, present

# What evaluation fuses of the passes with and without cross-modal attention.
FUSED = ("frame_prob", "audio_prob", "visual_prob")
leaky = partial(jax.nn.leaky_relu, negative_slope=0.2)

Stream = Float[Array, "videos segments width"]
Outputs = PyTree[Float[Array, "videos ..."]]


class EvidenceParser(nnx.Module):
    """The parser of CMPAE.

    Args:
      stream_widths, classes, width, heads, feed_forward, layers, dropout, visual_dropout, order,
        norm, cross_attention, dtype, precision: as in Parser.
      absence_dropout: rate of dropout in the absence branch.
      crossed_share: how much of a stream comes from the encoder with cross-modal attention; the
        rest comes from the same encoder without.
      fused_share: how much of a probability in evaluation comes from a pass with cross-modal
        attention; the rest comes from a pass without.
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
        absence_dropout: float,
        order: Literal["parallel", "sequential"],
        norm: Literal["post", "pre"],
        cross_attention: bool,
        crossed_share: float,
        fused_share: float,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = Arithmetic.named(dtype, precision)
        layer = partial(linear, arithmetic=compute, rngs=rngs)
        self.fc_a, self.fc_v = layer(audio_width, width), layer(visual_width, width)
        self.fc_st, self.fc_fusion = layer(snippet_width, width), layer(2 * width, width)
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
        self.fc_prob, self.fc_prob_beta = layer(width, classes), layer(width, classes)
        self.fc_frame_att = layer(width, 2 * classes)
        self.v2a, self.a2v = layer(width, width), layer(width, width)
        self.classifier1, self.classifier2 = layer(width, width), layer(width, classes)
        self.arithmetic, self.cross_attention = compute, cross_attention
        self.visual_dropout, self.absence_dropout = visual_dropout, absence_dropout
        self.crossed_share, self.fused_share = crossed_share, fused_share

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> Outputs:
        """Parses a batch of videos: in training by one pass, in evaluation by two, fused.

        Args:
          features: `audio` and `snippet`, pooled to segments, and `visual`, either as published
            [videos, segments, frames, width] (also with the frames of a segment side by side), or
            pooled to [videos, segments, width]. These are not the same: an ELU comes before the
            average over the frames of a segment, and of pooled rows it is the ELU of the average.
          key: for dropout; None in evaluation.
          lengths: see Parser.

        Returns:
          Probabilities as of Parser, and `audio_stream` and `visual_stream`; of each probability
          but for the global one its uncertainty, and global_uncertainty [videos].
        """
        if not self.cross_attention:
            return self.without_cross_attention(features, key, lengths=lengths)
        crossed = self._parse(features, key, lengths, crossed=True)
        if key is not None:
            return crossed
        alone, share = self.without_cross_attention(features, lengths=lengths), self.fused_share
        return crossed | {n: share * crossed[n] + (1 - share) * alone[n] for n in FUSED}

    def without_cross_attention(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> Outputs:
        """One pass without cross-modal attention (which ranks losses in training)."""
        return self._parse(features, key, lengths, crossed=False)

    def with_cross_attention(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> Outputs:
        """One pass with cross-modal attention, as in training."""
        return self._parse(features, key, lengths, crossed=True)

    def _parse(
        self, features: Features, key: PRNGKeyArray | None, lengths: Lengths, crossed: bool
    ) -> Outputs:
        features = cleared(features, lengths)
        alone_key, crossed_key, visual_key, *absence_keys = keys_of_parts(key, 5)
        tokens = self._tokens(features)
        streams = self.encoder.without_cross_attention(*tokens, alone_key, lengths)
        if crossed:
            share = self.crossed_share
            attended = self.encoder(*tokens, crossed_key, lengths)
            pairs = zip(attended, streams, strict=True)
            streams = tuple(share * x + (1 - share) * y for x, y in pairs)
        hidden = sum(leaky(self.classifier1(x)) for x in tokens)
        logits = self.classifier2(hidden).astype(jnp.float32)
        prob, uncertainty = global_belief(logits, lengths)
        audio, visual = streams
        seen = drop(visual, self.visual_dropout, visual_key)
        pooled = self._pooled(audio, seen, absence_keys, lengths)
        return pooled | {
            "global_prob": prob,
            "global_uncertainty": uncertainty,
            "audio_stream": audio,
            "visual_stream": visual,
        }

    def _tokens(self, features: Features) -> tuple[Stream, Stream]:
        """The audio and the visual token of every segment."""
        frames = frames_of(features["visual"], self.fc_v.in_features)
        frames = jax.nn.elu(self.fc_v(frames))
        frames = frames if frames.ndim == 3 else frames.mean(axis=2)
        snippets = jax.nn.elu(self.fc_st(features["snippet"]))
        fused = self.fc_fusion(jnp.concatenate([frames, snippets], axis=-1))
        return jax.nn.elu(self.fc_a(features["audio"])), jax.nn.elu(fused)

    def _pooled(
        self,
        audio: Stream,
        visual: Stream,
        keys: list[PRNGKeyArray] | list[None],
        lengths: Lengths,
    ) -> Outputs:
        """The probabilities and uncertainties of segments, and of a video by modality."""
        both = audio + visual
        absence = [
            stream + leaky(drop(branch(both), self.absence_dropout, key))
            for stream, branch, key in zip((audio, visual), (self.v2a, self.a2v), keys, strict=True)
        ]
        presence = jnp.stack([audio, visual], axis=2)
        logits = self.fc_prob(presence), self.fc_prob_beta(jnp.stack(absence, axis=2))
        pairs = jnp.stack(logits, axis=-1).astype(jnp.float32)
        weight = self.fc_frame_att(presence).astype(jnp.float32).reshape(pairs.shape)
        weight = jax.nn.softmax(weight, axis=1, where=present(lengths, weight))
        of_frames, of_videos = belief(pairs), belief((weight * pairs).sum(axis=1))
        found = {"frame_prob": cleared(of_frames.prob, lengths)}
        found["frame_uncertainty"] = of_frames.uncertainty
        for index, modality in enumerate(("audio", "visual")):
            found[f"{modality}_prob"] = of_videos.prob[:, index]
            found[f"{modality}_uncertainty"] = of_videos.uncertainty[:, index]
        return found
