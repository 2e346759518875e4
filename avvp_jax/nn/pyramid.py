"""The pyramid encoder: attention and convolution over ever longer stretches of a clip.

Yu et al., "MM-Pyramid: Multimodal Pyramid Attentional Network for Audio-Visual Event Localization
and Video Parsing", ACM Multimedia 2022.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic, linear, product, uniform_fan_in
from avvp_jax.nn.query_attention import FeedForward, QueryBlock, Sizes, within_band
from avvp_jax.nn.time_mask import Lengths, cleared

Stream = Float[Array, "videos segments width"]
Pair = tuple[Stream, Stream]  # the audio and the visual stream


class PyramidEncoder(nnx.Module):
    """Levels that each look twice as far as the one before, and a fusion of all their outputs.

    The feed-forward networks of all levels start equal, and so do both blocks of the fusion.
    """

    def __init__(self, sizes: Sizes, levels: int, *, rngs: nnx.Rngs):
        shared = FeedForward(sizes, rngs=rngs)
        reach = [2**level for level in range(levels)]
        self.levels = nnx.List([LevelAttention(sizes, each, shared, rngs=rngs) for each in reach])
        self.audio_convolutions, self.visual_convolutions = (
            nnx.List([ResidualConvolution(sizes, each, rngs=rngs) for each in reach])
            for _ in range(2)
        )
        self.audio_fusion = QueryBlock(sizes, rngs=rngs)
        self.visual_fusion = nnx.clone(self.audio_fusion)
        self.audio_share, self.visual_share = (
            linear(sizes.width, 1, arithmetic=sizes.arithmetic, rngs=rngs) for _ in range(2)
        )

    def __call__(
        self, audio: Stream, visual: Stream, drop: Dropout = NO_DROPOUT, lengths: Lengths = None
    ) -> Pair:
        """Both streams, encoded; what `drop` takes is `entries` numbers of a video."""
        heard, seen = [], []
        convolutions = zip(self.audio_convolutions, self.visual_convolutions, strict=True)
        for level, (of_audio, of_visual) in zip(self.levels, convolutions, strict=True):
            audio, visual = level(audio, visual, drop, lengths)
            audio, visual = of_audio(audio, lengths), of_visual(visual, lengths)
            heard.append(audio)
            seen.append(visual)
        return (
            _fused(heard, self.audio_fusion, self.audio_share, drop),
            _fused(seen, self.visual_fusion, self.visual_share, drop),
        )

    def entries(self, segments: int) -> int:
        """How many numbers of a video are dropped or kept."""
        of_level = 4 * self.levels[0].cross.entries(segments, segments)
        stages = len(self.levels)
        return stages * of_level + 2 * segments * self.audio_fusion.entries(stages, stages)


class LevelAttention(nnx.Module):
    """Attention of both streams to themselves and to each other, within a band, and gates.

    Both directions of cross-modal attention share a block.
    """

    def __init__(self, sizes: Sizes, reach: int, shared: FeedForward, *, rngs: nnx.Rngs):
        self.audio_self, self.visual_self, self.cross = (
            QueryBlock(sizes, shared, rngs=rngs) for _ in range(3)
        )
        (
            self.audio_self_gate,
            self.audio_cross_gate,
            self.visual_self_gate,
            self.visual_cross_gate,
        ) = (
            linear(2 * sizes.width, sizes.width, arithmetic=sizes.arithmetic, rngs=rngs)
            for _ in range(4)
        )
        self.reach = reach

    def __call__(
        self, audio: Stream, visual: Stream, drop: Dropout = NO_DROPOUT, lengths: Lengths = None
    ) -> Pair:
        seen = within_band(audio.shape[1], self.reach, lengths)
        heard = self.audio_self(audio, audio, seen, drop)
        looked = self.visual_self(visual, visual, seen, drop)
        # Stacked, so that both directions share each matrix product.
        pair = jnp.stack([audio, visual], axis=1)
        cross = self.cross(pair, pair[:, ::-1], seen[..., None, :, :], drop)
        return (
            _gated(heard, cross[:, 0], self.audio_self_gate, self.audio_cross_gate),
            _gated(looked, cross[:, 1], self.visual_self_gate, self.visual_cross_gate),
        )


def _gated(own: Stream, cross: Stream, own_gate: nnx.Linear, cross_gate: nnx.Linear) -> Stream:
    """The sum of what both attentions say, each by its gate, which sees both."""
    both = jnp.concatenate([own, cross], axis=-1)
    return jax.nn.sigmoid(own_gate(both)) * own + jax.nn.sigmoid(cross_gate(both)) * cross


def _fused(stages: list[Stream], block: QueryBlock, share: nnx.Linear, drop: Dropout) -> Stream:
    """One stream of all levels' outputs, which attend to one another in every segment."""
    stacked = jnp.stack(stages, axis=2)
    mixed = block(stacked, stacked, None, drop)
    return (jax.nn.sigmoid(share(mixed)) * mixed).sum(axis=2)


class ResidualConvolution(nnx.Module):
    """Two convolutions over time, of three steps that are `reach` apart and of one step."""

    def __init__(self, sizes: Sizes, reach: int, *, rngs: nnx.Rngs):
        self.wide = Convolution(sizes.width, 3, arithmetic=sizes.arithmetic, rngs=rngs)
        self.narrow = Convolution(sizes.width, 1, arithmetic=sizes.arithmetic, rngs=rngs)
        self.reach = reach

    def __call__(self, x: Stream, lengths: Lengths = None) -> Stream:
        """As long as `x`; zeros surround a clip of any length."""
        reach, steps = min(self.reach, x.shape[1]), x.shape[1]
        padded = jnp.pad(cleared(x, lengths), ((0, 0), (reach, reach), (0, 0)))
        windows = [padded[:, start : start + steps] for start in (0, reach, 2 * reach)]
        hidden = jax.nn.relu(self.wide(jnp.concatenate(windows, axis=-1)))
        return jax.nn.relu(x + self.narrow(hidden))


class Convolution(nnx.Module):
    """A convolution with a bias, as a matrix product with the windows that it slides over."""

    def __init__(self, width: int, taps: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        init = uniform_fan_in(taps * width)
        self.taps = nnx.Param(init(rngs.params(), (taps, width, width)))
        self.bias = nnx.Param(init(rngs.params(), (width,)))
        self.arithmetic = arithmetic

    def __call__(self, windows: Float[Array, "videos segments inputs"]) -> Stream:
        kernel = self.taps[...].reshape(-1, self.taps.shape[-1])
        dtype = self.arithmetic.dtype
        windows, kernel, bias = (x.astype(dtype) for x in (windows, kernel, self.bias[...]))
        return product(windows, kernel, self.arithmetic.precision) + bias
