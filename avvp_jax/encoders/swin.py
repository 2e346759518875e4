"""Swin Transformer's parts (Liu et al. 2021): attention in windows, and stages that halve a map.

Maps are [n, side, side, width] of tokens, squares whose side is a multiple of the window's.
"""

import functools
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from avvp_jax.encoders.clap_layers import Mlp
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.layers import Arithmetic, layer_norm, uniform_fan_in

RATIO = 4  # of an MLP's hidden width to a block's
_APART = -100.0  # is added to the logits of tokens that were neighbours only by shifting


class Block(nnx.Module):
    """Attention of each token to its window, and an MLP; norms come first.

    Args:
      side: of the maps.
      window: the side of a window.
      shift: how far the windows are moved, down and to the right; they go round the map's edges.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        side: int,
        window: int,
        shift: int,
        *,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        kinds, norms = {"arithmetic": arithmetic, "rngs": rngs}, {"dtype": arithmetic.dtype}
        self.norm1, self.norm2 = (layer_norm(width, **norms, rngs=rngs) for _ in range(2))
        self.attn = Attention(width, heads, dropout=0.0, **kinds)
        table = jnp.zeros(((2 * window - 1) ** 2, heads), jnp.float32)
        self.position_bias = nnx.Param(table)
        self.mlp = Mlp(width, RATIO * width, **kinds)
        self.side, self.window, self.shift = side, window, shift

    def __call__(self, x: Float[Array, "n side side width"]) -> Float[Array, "n side side width"]:
        # All of it in windows: then tokens are moved no more than once before and after.
        x = to_windows(x, self.window, self.shift)
        x = x + self.attn.to_itself(self.norm1(x), bias=self.bias())
        x = x + self.mlp(self.norm2(x))
        return from_windows(x, self.side, self.window, self.shift)

    def bias(self) -> Float[Array, "windows heads tokens tokens"]:
        """What is added to the logits; of one window for all where nothing is shifted."""
        bias = self.position_bias[...][relative_positions(self.window)].transpose(2, 0, 1)[None]
        if self.shift:
            bias = bias + shift_mask(self.side, self.window, self.shift)[:, None]
        return bias


def to_windows(
    x: Float[Array, "n side side width"], window: int, shift: int
) -> Float[Array, "n windows tokens width"]:
    """The tokens of each window, after shifting the map up and to the left."""
    n, side, _, width = x.shape
    x = jnp.roll(x, (-shift, -shift), (1, 2)) if shift else x
    x = x.reshape(n, side // window, window, side // window, window, width)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, window**2, width)


def from_windows(
    x: Float[Array, "n windows tokens width"], side: int, window: int, shift: int
) -> Float[Array, "n side side width"]:
    """The map of which `to_windows` made these."""
    n, *_, width = x.shape
    x = x.reshape(n, side // window, side // window, window, window, width)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, side, side, width)
    return jnp.roll(x, (shift, shift), (1, 2)) if shift else x


@functools.cache
def relative_positions(window: int) -> Int[np.ndarray, "tokens tokens"]:
    """The row of the table of position biases for each two tokens of a window."""
    rows, columns = np.divmod(np.arange(window**2), window)
    down, right = rows[:, None] - rows, columns[:, None] - columns
    return (down + window - 1) * (2 * window - 1) + right + window - 1


@functools.cache
def shift_mask(side: int, window: int, shift: int) -> Float[np.ndarray, "windows tokens tokens"]:
    """Keeps apart what a shift has brought into a window from the other edge of the map."""
    part = np.digitize(np.arange(side), [side - window, side - shift])
    regions = (3 * part[:, None] + part).reshape(side // window, window, side // window, window)
    regions = regions.swapaxes(1, 2).reshape(-1, window**2)
    apart = regions[:, :, None] != regions[:, None, :]
    return np.where(apart, np.float32(_APART), np.float32(0))


class Merging(nnx.Module):
    """Four neighbours to one token, which is twice as wide."""

    def __init__(self, width: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        init = uniform_fan_in(4 * width)
        self.norm = layer_norm(4 * width, dtype=arithmetic.dtype, rngs=rngs)
        self.reduction = nnx.Linear(
            4 * width,
            2 * width,
            use_bias=False,
            kernel_init=init,
            dtype=arithmetic.dtype,
            precision=arithmetic.precision,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "n side side width"]) -> Float[Array, "n half half twice"]:
        n, side, _, width = x.shape
        x = x.reshape(n, side // 2, 2, side // 2, 2, width)
        # Of each square: above left, below left, above right, below right.
        x = x.transpose(0, 1, 3, 4, 2, 5).reshape(n, side // 2, side // 2, 4 * width)
        return self.reduction(self.norm(x))


class Stage(nnx.Module):
    """Blocks of one side and width, of which every second is shifted by half a window.

    Where a window is as large as the map nothing is shifted.

    Args:
      merged: a merging follows.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        side: int,
        window: int,
        merged: bool,
        *,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        shift = window // 2 if side > window else 0
        self.blocks = nnx.List(
            Block(width, heads, side, window, shift * (number % 2), **kinds)
            for number in range(depth)
        )
        self.downsample = Merging(width, **kinds) if merged else None

    def stages(self, x: Float[Array, "n side side width"]) -> Iterator[tuple[str, Array]]:
        """What is computed on the way, with names, and the result under the name ""."""
        for number, block in enumerate(self.blocks):
            x = block(x)
            yield f".blocks.{number}", x
        yield "", x if self.downsample is None else self.downsample(x)
