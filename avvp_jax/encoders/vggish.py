"""VGGish (Hershey et al. 2017), with the last ReLU that AVVP's features have, and without PCA."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from avvp_jax.encoders.convolutions import Convolution, max_pool
from avvp_jax.encoders.log_mel import BANDS, FRAMES
from avvp_jax.nn.layers import Arithmetic, uniform_fan_in

CONVOLUTIONS = ("conv1", "conv2", "conv3_1", "conv3_2", "conv4_1", "conv4_2")
POOLED = ("conv1", "conv2", "conv3_2", "conv4_2")  # what a pool follows
LINEAR = ("fc1_1", "fc1_2", "fc2")
# Our words, which are the authors', -> those of torchvggish.
PUBLISHED = {
    **dict(zip(CONVOLUTIONS, (f"features.{n}" for n in (0, 3, 6, 8, 11, 13)), strict=True)),
    **dict(zip(LINEAR, (f"embeddings.{n}" for n in (0, 2, 4)), strict=True)),
}


class Wide(nnx.Module):
    """A linear layer with far more weights than there are rows to apply it to.

    Its weight is [outputs, inputs], as published. A CPU then reads each weight once and in order,
    which takes half of the time of a product with its transpose.
    """

    def __init__(self, inputs: int, outputs: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        init = uniform_fan_in(inputs)
        self.weight = nnx.Param(init(rngs.params(), (outputs, inputs), jnp.float32))
        self.bias = nnx.Param(init(rngs.params(), (outputs,), jnp.float32))
        self.arithmetic = arithmetic

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        dtype, precision = self.arithmetic.dtype, self.arithmetic.precision
        weight, bias = self.weight[...].astype(dtype), self.bias[...].astype(dtype)
        y = jnp.einsum("oi,ni->on", weight, x.astype(dtype), precision=precision)
        # Without the barrier XLA would make it that product all the same.
        return jax.lax.optimization_barrier(y).T + bias


class VGGish(nnx.Module):
    """Log-mel spectrograms of 0.96 s to embeddings.

    Args:
      channels: of the six convolutions.
      widths: of the three linear layers.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512),
        widths: tuple[int, ...] = (4096, 4096, 128),
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        arithmetic = Arithmetic.named(dtype, precision)
        inputs = 1
        for name, outputs in zip(CONVOLUTIONS, channels, strict=True):
            convolution = Convolution(
                inputs, outputs, (3, 3), padding=(1, 1), bias=True, arithmetic=arithmetic, rngs=rngs
            )
            setattr(self, name, convolution)
            inputs = outputs
        inputs *= (FRAMES >> len(POOLED)) * (BANDS >> len(POOLED))
        for name, outputs in zip(LINEAR, widths, strict=True):
            setattr(self, name, Wide(inputs, outputs, arithmetic=arithmetic, rngs=rngs))
            inputs = outputs

    def stages(
        self, x: Float[Array, "n frames bands"]
    ) -> Iterator[tuple[str, Float[Array, "n ..."]]]:
        """What is computed on the way to the embedding, and that, with names."""
        x, pools = x[..., None], 0
        for name in CONVOLUTIONS:
            x = jax.nn.relu(getattr(self, name)(x))
            yield name, x
            if name in POOLED:
                x, pools = max_pool(x, 2, 2, 0), pools + 1
                yield f"pool{pools}", x
        x = x.reshape(len(x), -1)  # height, width, channels, as the weights have it
        for name in LINEAR:
            x = jax.nn.relu(getattr(self, name)(x))
            yield name, x

    def __call__(self, x: Float[Array, "n frames bands"]) -> Float[Array, "n features"]:
        """Embeddings of log-mel spectrograms (log_mel.py); 128, none negative, in float32."""
        *_, (_, last) = self.stages(x)
        return last.astype("float32")

    def features(self, x: Float[Array, "n frames bands"]) -> Float[Array, "n features"]:
        """The same, by the name that the other encoders have for what they take from files."""
        return self(x)
