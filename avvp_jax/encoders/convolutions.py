"""Layers that the convolutional encoders share: convolution, batch norm, pooling, pictures.

They only evaluate: batch norm takes its running statistics. Arrays are [n, height, width,
channels]; R(2+1)D has its own way to that. Padding is given and the same on both sides, where the
"SAME" of other libraries pads strided windows on one side only.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from avvp_jax.nn.layers import NORM_EPSILON, Arithmetic

Size = tuple[int, int]


class Convolution(nnx.Module):
    """Convolution of pictures, with a bias or without."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Size,
        *,
        stride: Size = (1, 1),
        padding: Size = (0, 0),
        bias: bool = False,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.he_normal()
        self.kernel = nnx.Param(init(rngs.params(), (*size, inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32)) if bias else None
        self.stride, self.padding, self.arithmetic = stride, padding, arithmetic

    def __call__(
        self, x: Float[Array, "n height width inputs"]
    ) -> Float[Array, "n rows columns outputs"]:
        dtype, precision = self.arithmetic.dtype, self.arithmetic.precision
        x, kernel = x.astype(dtype), self.kernel[...].astype(dtype)
        if kernel.shape[:2] == (1, 1) and self.padding == (0, 0):
            # XLA's convolution on a CPU is a third slower than its matrix product here.
            x = x[:, :: self.stride[0], :: self.stride[1]]
            y = jnp.matmul(x, kernel[0, 0], precision=precision)
        else:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                self.stride,
                [(each, each) for each in self.padding],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision=precision,
            )
        return y if self.bias is None else y + self.bias[...].astype(dtype)


class BatchNorm(nnx.Module):
    """Batch normalisation by running statistics."""

    def __init__(self, width: int, *, arithmetic: Arithmetic):
        self.scale = nnx.Param(jnp.ones(width, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(width, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(width, jnp.float32))
        self.dtype = arithmetic.dtype

    def __call__(self, x: Float[Array, "*n width"]) -> Float[Array, "*n width"]:
        scale = self.scale[...] * jax.lax.rsqrt(self.var[...] + NORM_EPSILON)
        shift = self.bias[...] - self.mean[...] * scale
        return (x.astype(jnp.float32) * scale + shift).astype(self.dtype)


def rectified_sum(
    branch: Float[Array, "*n width"], shortcut: Float[Array, "*n width"]
) -> Float[Array, "*n width"]:
    """ReLU of the sum of a block's branch and its shortcut, to the bit.

    XLA on a CPU would compute jax.nn.relu of the sum again in the next block's sum, and both in
    the one after, since it takes functions of one array to be cheap: a quarter of the time.
    """
    return shortcut + jnp.maximum(branch, -shortcut)


def max_pool(
    x: Float[Array, "n height width channels"], size: int, stride: int, padding: int
) -> Float[Array, "n rows columns channels"]:
    """The largest of each window; what is padded is smaller than any number."""
    ends = (padding, padding)
    x = jnp.pad(x, ((0, 0), ends, ends, (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        last = x.shape[axis] - size + 1
        parts = [
            jax.lax.slice_in_dim(x, start, start + last, stride, axis) for start in range(size)
        ]
        x = functools.reduce(jnp.maximum, parts)
    return x


def normalised(
    pictures: UInt8[Array, "*n 3"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "*n 3"]:
    """Pictures of 0..255 as the published programs feed them: float32, by channel (RGB)."""
    x = pictures.astype(jnp.float32) / 255
    return (x - np.array(mean, np.float32)) / np.array(std, np.float32)
