"""DHHN's networks: the hierarchical parser, the networks trained together, and the result.

Jiang et al., "DHHN: Dual Hierarchical Hybrid Network for Weakly-Supervised
Audio-Visual Video Parsing", ACM Multimedia 2022.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.dropout import dropout, keys_of_parts
from avvp_jax.nn.guiding import GuidingNetwork
from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.layers import Arithmetic, TimeConvolution, linear
from avvp_jax.nn.parser import Features, VisualTokens
from avvp_jax.nn.pooling import MMIL, PROBABILITIES
from avvp_jax.nn.time_mask import Lengths, cleared

# Kernel size, stride and padding of each scale's convolution; ten segments become 10, 5 and 2.
SCALES = ((1, 1, 0), (3, 2, 1), (5, 5, 2))


class HierarchicalParser(nnx.Module):
    """HCMN: a parser on three time scales.

    Each scale adds its encoded streams to those of the scales before, and MMIL pools each sum;
    all scales share the encoder and MMIL.

    Args:
      stream_widths, classes, width, visual_dropout, cross_attention, dtype, precision: as in
        Parser.
      encoder: the other arguments of the HybridEncoder, as in Parser.
    """

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        visual_dropout: float,
        cross_attention: bool,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
        **encoder,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = Arithmetic.named(dtype, precision)
        self.fc_a = linear(audio_width, width, arithmetic=compute, rngs=rngs)
        self.visual_tokens = VisualTokens(
            visual_width, snippet_width, width, arithmetic=compute, rngs=rngs
        )
        self.encoder = HybridEncoder(width, **encoder, arithmetic=compute, rngs=rngs)
        self.mmil = MMIL(width, classes, arithmetic=compute, rngs=rngs)
        self.audio_scales, self.visual_scales = (
            nnx.List(
                [TimeConvolution(width, *scale, arithmetic=compute, rngs=rngs) for scale in SCALES]
            )
            for _ in range(2)
        )
        self.visual_dropout = visual_dropout
        self.cross_attention = cross_attention

    def __call__(
        self,
        features: Features,
        key: PRNGKeyArray | None = None,
        *,
        weight: Float[ArrayLike, " videos"] | None = None,
        lengths: Lengths = None,
    ) -> PyTree[Float[Array, "videos ..."]]:
        """MMIL's probabilities, averaged over the scales.

        Args:
          features: `audio`, `visual` and `snippet`, pooled to segments.
          key: for dropout; None in evaluation.
          weight: of each video in the batch statistics; None in evaluation.
          lengths: how many segments of each video are there, see Parser. A short video has as many
            steps in each scale as it would have alone.
        """
        features = cleared(features, lengths)
        audio_tokens = self.fc_a(features["audio"])
        visual_tokens = self.visual_tokens(features["visual"], features["snippet"])
        encode = self.encoder if self.cross_attention else self.encoder.without_cross_attention
        segments = audio_tokens.shape[1]
        audio_map = visual_map = 0.0
        outputs = []
        scales = zip(
            self.audio_scales, self.visual_scales, keys_of_parts(key, len(SCALES)), strict=True
        )
        for audio_scale, visual_scale, scale_key in scales:
            encoder_key, visual_key = keys_of_parts(scale_key, 2)
            audio = audio_scale(audio_tokens, weight, lengths)
            visual = visual_scale(visual_tokens, weight, lengths)
            steps = audio_scale.steps(lengths)
            audio, visual = encode(audio, visual, encoder_key, steps)
            audio_map = audio_map + resized(audio, segments, steps, lengths)
            visual_map = visual_map + resized(visual, segments, steps, lengths)
            seen = dropout(visual_map, self.visual_dropout, visual_key)
            outputs.append(self.mmil(audio_map, seen, lengths))
        return {
            name: sum(output[name] for output in outputs) / len(outputs) for name in PROBABILITIES
        }


def resized(
    x: Float[Array, "videos steps width"],
    length: int,
    steps: Lengths = None,
    lengths: Lengths = None,
) -> Float[Array, "videos {length} width"]:
    """Resizes to `length` steps by nearest neighbour: step i takes floor(i * steps / length).

    Args:
      steps, lengths: how many of each video are there, before and after.
    """
    if lengths is None:
        return x[:, np.arange(length) * x.shape[1] // length]
    index = np.arange(length) * steps[:, None] // lengths[:, None]
    return jnp.take_along_axis(x, jnp.minimum(index, x.shape[1] - 1)[:, :, None], axis=1)


class JointNetworks(nnx.Module):
    """The three networks that DHHN trains together.

    Args:
      stream_widths, classes: as in Parser.
      model: arguments of the hierarchical parser.
      audio_net, video_net: arguments of the guiding networks, which have the parser's width,
        dtype and precision.
    """

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
        shared = {name: model[name] for name in ("width", "dtype", "precision")} | {"rngs": rngs}
        self.hcmn = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)
        self.audio_net = GuidingNetwork(stream_widths, classes, "audio", **audio_net, **shared)
        self.video_net = GuidingNetwork(stream_widths, classes, "visual", **video_net, **shared)


class CombinedParser(nnx.Module):
    """Two hierarchical parsers; one predicts the audio events, the other the visual ones."""

    def __init__(
        self, stream_widths: tuple[int, int, int], classes: int, model: dict, *, rngs: nnx.Rngs
    ):
        self.audio = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)
        self.visual = HierarchicalParser(stream_widths, classes, rngs=rngs, **model)

    def __call__(
        self, features: Features, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """frame_prob, audio_prob and visual_prob; there is no global_prob."""
        heard, seen = (parser(features, lengths=lengths) for parser in (self.audio, self.visual))
        halves = [heard["frame_prob"][:, :, 0], seen["frame_prob"][:, :, 1]]
        return {
            "frame_prob": jnp.stack(halves, axis=2),
            "audio_prob": heard["audio_prob"],
            "visual_prob": seen["visual_prob"],
        }
