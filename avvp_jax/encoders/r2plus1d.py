"""R(2+1)D (Tran et al. 2018) as torchvision publishes it.

A convolution over space and time is one over space, batch norm, ReLU, and one over time. Over space
a clip is a batch of pictures; over time it is a picture of (time, height * width).
"""

from collections.abc import Iterator

import jax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from avvp_jax.encoders.convolutions import BatchNorm, Convolution, normalised, rectified_sum
from avvp_jax.nn.layers import Arithmetic

MEAN = (0.43216, 0.394666, 0.37645)  # of Kinetics
STD = (0.22803, 0.22145, 0.216989)
Clips = Float[Array, "_ _ _ _ _"]  # clips, time, height, width, channels


# Our words -> torchvision's, in the order in which they are exchanged.
PUBLISHED = {
    "stem.space_norm": "stem.1",
    "stem.space": "stem.0",
    "stem.time_norm": "stem.4",
    "stem.time": "stem.3",
    "downsample.conv": "downsample.0",
    "downsample.norm": "downsample.1",
    "space_norm": "0.1",
    "space": "0.0",
    "time_norm": "1",
    "time": "0.3",
}


def over_space(convolution: Convolution, x: Clips) -> Clips:
    """A convolution of every frame."""
    n, time, *frame = x.shape
    y = convolution(x.reshape(n * time, *frame))
    return y.reshape(n, time, *y.shape[1:])


def over_time(convolution: Convolution, x: Clips) -> Clips:
    """A convolution of the frames at every place."""
    n, time, height, width, channels = x.shape
    y = convolution(x.reshape(n, time, height * width, channels))
    return y.reshape(n, y.shape[1], height, width, y.shape[-1])


class Factorised(nnx.Module):
    """Convolution over space, batch norm, ReLU, convolution over three frames, batch norm.

    Args:
      between: channels between the two convolutions.
      size: of the convolution over space.
      strides: over space, and over time.
    """

    def __init__(
        self,
        inputs: int,
        between: int,
        outputs: int,
        size: int,
        strides: tuple[int, int],
        *,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        space, time = strides
        self.space = Convolution(
            inputs, between, (size, size), stride=(space, space), padding=(size // 2,) * 2, **kinds
        )
        self.space_norm = BatchNorm(between, arithmetic=arithmetic)
        self.time = Convolution(between, outputs, (3, 1), stride=(time, 1), padding=(1, 0), **kinds)
        self.time_norm = BatchNorm(outputs, arithmetic=arithmetic)

    def __call__(self, x: Clips) -> Clips:
        x = jax.nn.relu(self.space_norm(over_space(self.space, x)))
        return self.time_norm(over_time(self.time, x))


class Downsample(nnx.Module):
    """A block's input in the shape of its result: every second entry, 1x1x1, batch norm."""

    def __init__(self, inputs: int, outputs: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        self.conv = Convolution(
            inputs, outputs, (1, 1), stride=(2, 2), arithmetic=arithmetic, rngs=rngs
        )
        self.norm = BatchNorm(outputs, arithmetic=arithmetic)

    def __call__(self, x: Clips) -> Clips:
        return self.norm(over_space(self.conv, x[:, ::2]))


class Block(nnx.Module):
    """Two factorised convolutions, beside a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        # As many parameters as a full convolution inputs -> outputs has; for both, as published.
        between = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.conv1 = Factorised(inputs, between, outputs, 3, (stride, stride), **kinds)
        self.conv2 = Factorised(outputs, between, outputs, 3, (1, 1), **kinds)
        self.downsample = Downsample(inputs, outputs, **kinds) if stride > 1 else None

    def __call__(self, x: Clips) -> Clips:
        y = self.conv2(jax.nn.relu(self.conv1(x)))
        return rectified_sum(y, x if self.downsample is None else self.downsample(x))


class R2Plus1D(nnx.Module):
    """Clips to the average of the last layer; the classifier is left out.

    Args:
      blocks: in each of four layers.
      channels: of the stem's result and of the first layer; each layer doubles them.
      stem: channels between the stem's convolutions.
    """

    def __init__(
        self,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        channels: int = 64,
        stem: int = 45,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        kinds = {"arithmetic": Arithmetic.named(dtype, precision), "rngs": rngs}
        self.stem = Factorised(3, stem, channels, 7, (2, 1), **kinds)
        inputs = channels
        for index, count in enumerate(blocks):
            width, layer = channels << index, []
            for number in range(count):
                layer.append(Block(inputs, width, 2 if index and not number else 1, **kinds))
                inputs = width
            setattr(self, f"layer{index + 1}", nnx.List(layer))
        self.layers = len(blocks)

    def stages(self, x: Float[Array, "n time height width 3"]) -> Iterator[tuple[str, Clips]]:
        """What is computed of normalised clips on the way to the average, with names."""
        x = jax.nn.relu(self.stem(x))
        yield "stem", x
        for index in range(1, self.layers + 1):
            for number, block in enumerate(getattr(self, f"layer{index}")):
                x = block(x)
                yield f"layer{index}.{number}", x

    def __call__(self, x: Float[Array, "n time height width 3"]) -> Float[Array, "n features"]:
        """Features of normalised clips; 512 of R(2+1)D-18, none negative, in float32."""
        *_, (_, last) = self.stages(x)
        return last.mean(axis=(1, 2, 3), dtype="float32")

    def features(self, clips: UInt8[Array, "n time height width 3"]) -> Float[Array, "n features"]:
        """Features of clips of RGB pictures of 0..255."""
        return self(normalised(clips, MEAN, STD))
