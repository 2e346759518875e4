"""Layers that the networks share: linear maps, norms and convolution over time.

Every matrix product of the parsers is here, in attention.py, attention_products.py and
class_features.py.

No module holds random state. Networks take a key, and None in evaluation; layers take what drops
entries (dropout.py).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from avvp_jax.nn.time_mask import Lengths, cleared, present

NORM_EPSILON = 1e-5
# Weight of a batch's statistics in the update of batch norm's running statistics.
STATISTICS_STEP = 0.1


# The names of `config.model.precision`. On a CPU all of them are float32.
PRECISIONS = {
    "highest": jax.lax.Precision.HIGHEST,  # float32, also on NVIDIA and TPU
    "high": jax.lax.Precision.HIGH,  # three passes of bfloat16 on a TPU, TF32 or float32 on NVIDIA
    "fastest": jax.lax.Precision.DEFAULT,  # one pass of bfloat16 on a TPU, TF32 on NVIDIA
}


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """How a network computes.

    Attributes:
      dtype: of activations; parameters stay float32.
      precision: of matrix products of float32. Each product carries it, so that it depends
        neither on the device nor on JAX's global setting. (What a TPU computes as sums is float32.)
    """

    dtype: DTypeLike
    precision: jax.lax.Precision

    @classmethod
    def named(cls, dtype: str, precision: str) -> "Arithmetic":
        """That of `config.model.dtype` and `config.model.precision`."""
        return cls(jnp.dtype(dtype), PRECISIONS[precision])


def uniform_fan_in(fan_in: int):
    """The published initialiser of weights and biases: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "*rows inputs"],
    kernel: Float[ArrayLike, "inputs outputs"],
    precision: jax.lax.Precision,
) -> Float[Array, "*rows outputs"]:
    """`x @ kernel`, with a gradient in the memory layout of the kernel.

    JAX's own rule computes the kernel's gradient transposed. On a CPU the optimizer then
    reads it with large strides, which takes longer than the product itself.

    Of the kernel's gradient a CPU transposes the first factor in memory. Where that is larger than
    the second and the result together, these are transposed instead; for other devices, on which
    this was not measured, only where it is more than twice as large.
    """
    return jnp.matmul(x, kernel, precision=precision)


def _product_forward(x, kernel, precision):
    return product(x, kernel, precision), (x, kernel)


def _product_gradient(precision, saved, upstream):
    x, kernel = saved
    last, smaller = x.ndim - 1, upstream.size + kernel.size
    plain, turned = (functools.partial(f, precision) for f in (_kernel_gradient, _turned_gradient))
    if 2 * smaller < x.size:
        of_kernel = turned(x, upstream)
    elif smaller < x.size:
        of_kernel = jax.lax.platform_dependent(x, upstream, cpu=turned, default=plain)
    else:
        of_kernel = plain(x, upstream)
    return jax.lax.dot_general(upstream, kernel, (((last,), (1,)), ((), ())), precision), of_kernel


def _kernel_gradient(precision, x, upstream):
    rows = tuple(range(x.ndim - 1))
    return jax.lax.dot_general(x, upstream, ((rows, rows), ((), ())), precision)


def _turned_gradient(precision, x, upstream):
    # Between barriers, because XLA would make one product of it, and transpose x again.
    turned = jax.lax.optimization_barrier(upstream.reshape(-1, upstream.shape[-1]).T)
    of_kernel = jnp.matmul(turned, x.reshape(-1, x.shape[-1]), precision=precision)
    return jax.lax.optimization_barrier(of_kernel).T


product.defvjp(_product_forward, _product_gradient)


def linear(
    inputs: int, outputs: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs, bias_init=None
) -> nnx.Linear:
    """A linear layer with the published initialisation; parameters stay float32."""
    return nnx.Linear(
        inputs,
        outputs,
        kernel_init=uniform_fan_in(inputs),
        bias_init=bias_init or uniform_fan_in(inputs),
        dtype=arithmetic.dtype,
        precision=arithmetic.precision,
        dot_general=lambda x, kernel, _, precision, **__: product(x, kernel, precision),
        rngs=rngs,
    )


def layer_norm(width: int, *, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation as published (epsilon 1e-5, scale 1, bias 0)."""
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, dtype=dtype, rngs=rngs)


class BatchNorm(nnx.Module):
    """Batch normalisation over videos and time, with running statistics as in PyTorch.

    In training a batch is normalised by its own mean and biased variance; the running variance
    is updated with the unbiased one. `count` is the number of training batches so far.
    """

    def __init__(self, width: int, *, dtype: DTypeLike):
        self.scale = nnx.Param(jnp.ones(width, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(width, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(width, jnp.float32))
        self.count = nnx.BatchStat(jnp.int32(0))
        self.dtype = dtype

    def __call__(
        self,
        x: Float[Array, "videos time width"],
        weight: Float[ArrayLike, " videos"] | None,
        lengths: Lengths = None,
    ) -> Float[Array, "videos time width"]:
        """Normalises `x`: by batch statistics in training, by the running ones in evaluation.

        Args:
          weight: 1 for a video, 0 for padding, which the batch statistics ignore; None in
            evaluation.
          lengths: how many steps of each video are there; the statistics ignore the others.
        """
        x = x.astype(jnp.float32)
        mean, var = self.mean[...], self.var[...]
        if weight is not None:
            mean, var = self._batch_statistics(x, weight[:, None, None], lengths)
        y = (x - mean) * jax.lax.rsqrt(var + NORM_EPSILON) * self.scale[...] + self.bias[...]
        return y.astype(self.dtype)

    def _batch_statistics(self, x, weight, lengths):
        if lengths is None:
            rows = weight.sum() * x.shape[1]
        else:
            weight = weight * present(lengths, x)
            rows = weight.sum()
        mean = (x * weight).sum(axis=(0, 1)) / rows
        var = (jnp.square(x - mean) * weight).sum(axis=(0, 1)) / rows
        # A single row has no variance. Longer sequences have at least two, which needs no bound.
        bounded = lengths is not None or x.shape[1] == 1
        unbiased = var * rows / (jnp.maximum(rows - 1, 1) if bounded else rows - 1)
        for running, batch in ((self.mean, mean), (self.var, unbiased)):
            batch = jax.lax.stop_gradient(batch)
            running[...] = (1 - STATISTICS_STEP) * running[...] + STATISTICS_STEP * batch
        self.count[...] = self.count[...] + 1
        return mean, var


class TimeConvolution(nnx.Module):
    """Convolution over time without a bias, batch norm and ReLU."""

    def __init__(
        self,
        width: int,
        kernel: int,
        stride: int,
        padding: int,
        *,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        init = uniform_fan_in(width * kernel)
        self.taps = nnx.Param(init(rngs.params(), (kernel, width, width)))
        self.norm = BatchNorm(width, dtype=arithmetic.dtype)
        self.stride, self.padding, self.arithmetic = stride, padding, arithmetic

    def __call__(
        self,
        x: Float[Array, "videos time width"],
        weight: Float[ArrayLike, " videos"] | None,
        lengths: Lengths = None,
    ) -> Float[Array, "videos steps width"]:
        """The output has one step per position of the kernel; for `weight`, see BatchNorm.

        Args:
          lengths: how many steps of each video in `x` are there; zeros follow them.
        """
        x = cleared(x, lengths)
        taps, _, width = self.taps.shape
        padded = jnp.pad(x, ((0, 0), (self.padding, self.padding), (0, 0)))
        steps = (padded.shape[1] - taps) // self.stride + 1
        # Windows and one matrix product instead of a convolution, because vmap over seeds would
        # turn that into a grouped convolution, which is slow.
        index = np.arange(steps)[:, None] * self.stride + np.arange(taps)
        windows = padded[:, index].reshape(len(x), steps, taps * width)
        kernel = self.taps[...].reshape(taps * width, width)
        windows, kernel = (x.astype(self.arithmetic.dtype) for x in (windows, kernel))
        convolved = jnp.matmul(windows, kernel, precision=self.arithmetic.precision)
        return jax.nn.relu(self.norm(convolved, weight, self.steps(lengths)))

    def steps(self, lengths: Lengths) -> Lengths:
        """How many steps of the output are there, for videos of these lengths."""
        if lengths is None:
            return None
        return (lengths + 2 * self.padding - self.taps.shape[0]) // self.stride + 1
