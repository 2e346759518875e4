"""DHHN's networks: the hierarchical parser, and two networks of one modality that guide it.

Jiang et al., "DHHN: Dual Hierarchical Hybrid Network for Weakly-Supervised
Audio-Visual Video Parsing", ACM Multimedia 2022.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from avvp_jax.nn.hybrid import HybridLayer
from avvp_jax.nn.layers import BatchNorm, dropout, linear, split_key, uniform_fan_in
from avvp_jax.nn.parser import PROBABILITIES, Features, Parser, SegmentPooling, VisualTokens

# Kernel, stride and padding of each scale's convolution; ten segments become 10, 5 and 2.
SCALES = ((1, 1, 0), (3, 2, 1), (5, 5, 2))

Tokens = Float[Array, "videos segments width"]


class TimeConvolution(nnx.Module):
    """Convolution over time without a bias, batch norm and ReLU."""

    def __init__(
        self, width: int, kernel: int, stride: int, padding: int, *, dtype, rngs: nnx.Rngs
    ):
        init = uniform_fan_in(width * kernel)
        self.taps = nnx.Param(init(rngs.params(), (kernel, width, width)))
        self.norm = BatchNorm(width, dtype=dtype)
        self.stride, self.padding, self.dtype = stride, padding, dtype

    def __call__(self, x: Tokens, weight: Float[Array, " videos"] | None) -> Tokens:
        """A shorter stream; `weight` is BatchNorm's."""
        taps, _, width = self.taps.shape
        padded = jnp.pad(x, ((0, 0), (self.padding, self.padding), (0, 0)))
        steps = (padded.shape[1] - taps) // self.stride + 1
        # Windows and one matrix product, because vmap over seeds makes convolutions grouped.
        index = np.arange(steps)[:, None] * self.stride + np.arange(taps)
        windows = padded[:, index].reshape(len(x), steps, taps * width)
        kernel = self.taps[...].reshape(taps * width, width)
        convolved = windows.astype(self.dtype) @ kernel.astype(self.dtype)
        return jax.nn.relu(self.norm(convolved, weight))


class HierarchicalParser(Parser):
    """HCMN: the parser on three time scales, whose maps accumulate and share MMIL.

    See Parser for the arguments.
    """

    def __init__(
        self, stream_widths: tuple[int, int, int], classes: int, *, rngs: nnx.Rngs, **model
    ):
        super().__init__(stream_widths, classes, rngs=rngs, **model)
        width, dtype = model["width"], jnp.dtype(model["dtype"])
        self.audio_scales, self.visual_scales = (
            nnx.List([TimeConvolution(width, *scale, dtype=dtype, rngs=rngs) for scale in SCALES])
            for _ in range(2)
        )

    def __call__(
        self,
        features: Features,
        key: PRNGKeyArray | None = None,
        *,
        weight: Float[Array, " videos"] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Means over the scales of MMIL's probabilities.

        Args:
          features: `audio`, `visual` and `snippet`, pooled to segments.
          key: for dropout; None in evaluation.
          weight: of each video in the batch statistics; given in training and only there.
        """
        audio_tokens, visual_tokens = self.tokens(features)
        segments = audio_tokens.shape[1]
        audio_map = visual_map = 0.0
        outputs = []
        scales = zip(
            self.audio_scales, self.visual_scales, split_key(key, len(SCALES)), strict=True
        )
        for audio_scale, visual_scale, scale_key in scales:
            encoder_key, visual_key = split_key(scale_key, 2)
            audio, visual = self.encoder(
                audio_scale(audio_tokens, weight),
                visual_scale(visual_tokens, weight),
                encoder_key,
                cross_attention=self.cross_attention,
            )
            audio_map = audio_map + resized(audio, segments)
            visual_map = visual_map + resized(visual, segments)
            seen = dropout(visual_map, self.visual_dropout, visual_key)
            outputs.append(self.mmil(audio_map, seen))
        return {name: sum(o[name] for o in outputs) / len(outputs) for name in PROBABILITIES}


def resized(x: Tokens, length: int) -> Tokens:
    """The nearest-neighbour stream of `length` steps: step i is floor(i * steps / length)."""
    return x[:, np.arange(length) * x.shape[1] // length]


class GuidingNetwork(nnx.Module):
    """A network of one modality: tokens, a self-attention encoder run repeatedly, and pooling.

    Args:
      stream_widths: widths of the audio, visual and snippet features.
      classes: how many the heads tell apart.
      modality: the one that it reads.
      width, dtype: as in Parser.
      heads, feed_forward, dropout: of an encoder layer.
      layers: of the encoder, which start as copies of one.
      repeats: how often x becomes x + encoder(x), with the same weights.
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
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = jnp.dtype(dtype)
        if modality == "audio":
            self.fc_a = linear(audio_width, width, dtype=compute, rngs=rngs)
        else:
            self.visual_tokens = VisualTokens(
                visual_width, snippet_width, width, dtype=compute, rngs=rngs
            )
        first = HybridLayer(
            width,
            heads,
            feed_forward,
            dropout=dropout,
            norm="post",
            dtype=compute,
            rngs=rngs,
            cross=False,
        )
        self.self_encoder = GuidingEncoder(first, layers)
        self.pooling = SegmentPooling(width, classes, dtype=compute, rngs=rngs)
        self.modality, self.repeats = modality, repeats

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None
    ) -> dict[str, Float[Array, "..."]]:
        """frame_prob [videos, segments, classes] and prob [videos, classes]."""
        if self.modality == "audio":
            x = self.fc_a(features["audio"])
        else:
            x = self.visual_tokens(features["visual"], features["snippet"])
        for repeat_key in split_key(key, self.repeats):
            x = x + self.self_encoder(x, repeat_key)
        output = self.pooling.over_time(x)
        return {"frame_prob": output["frame_prob"], "prob": output["time_weighted"].sum(axis=1)}


class GuidingEncoder(nnx.Module):
    """A stack of transformer encoder layers that start as copies of `first`."""

    def __init__(self, first: HybridLayer, layers: int):
        self.layers = nnx.List([first, *(nnx.clone(first) for _ in range(layers - 1))])

    def __call__(self, x: Tokens, key: PRNGKeyArray | None) -> Tokens:
        for layer, layer_key in zip(self.layers, split_key(key, len(self.layers)), strict=True):
            x = layer(x, None, layer_key, cross_attention=False)
        return x


class JointNetworks(nnx.Module):
    """The three networks that DHHN trains together."""

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        model: dict,
        audio_net: dict,
        video_net: dict,
        *,
        rngs: nnx.Rngs,
    ):
        shared = {"width": model["width"], "dtype": model["dtype"], "rngs": rngs}
        self.hcmn = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)
        self.audio_net = GuidingNetwork(stream_widths, classes, "audio", **audio_net, **shared)
        self.video_net = GuidingNetwork(stream_widths, classes, "visual", **video_net, **shared)


class CombinedParser(nnx.Module):
    """Two hierarchical parsers, of which one says what is heard and the other what is seen."""

    def __init__(
        self, stream_widths: tuple[int, int, int], classes: int, model: dict, *, rngs: nnx.Rngs
    ):
        self.audio = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)
        self.visual = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)

    def __call__(self, features: Features) -> dict[str, Float[Array, "..."]]:
        """frame_prob, audio_prob and visual_prob; there is no global_prob."""
        heard, seen = self.audio(features), self.visual(features)
        halves = [heard["frame_prob"][:, :, 0], seen["frame_prob"][:, :, 1]]
        return {
            "frame_prob": jnp.stack(halves, axis=2),
            "audio_prob": heard["audio_prob"],
            "visual_prob": seen["visual_prob"],
        }
