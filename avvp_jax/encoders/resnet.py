"""ResNet (He et al. 2016) as torchvision publishes it: the stride is on the 3x3 convolution."""

from collections.abc import Iterator

import jax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from avvp_jax.encoders.convolutions import (
    BatchNorm,
    Convolution,
    max_pool,
    normalised,
    rectified_sum,
)
from avvp_jax.nn.layers import Arithmetic

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
EXPANSION = 4  # of a bottleneck's channels in its result


# Our words -> torchvision's.
PUBLISHED = {
    "downsample.conv": "downsample.0",
    "downsample.norm": "downsample.1",
}


class Downsample(nnx.Module):
    """A block's input in the shape of its result: 1x1 convolution and batch norm."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        kinds = {"arithmetic": arithmetic}
        self.conv = Convolution(
            inputs, outputs, (1, 1), stride=(stride, stride), **kinds, rngs=rngs
        )
        self.norm = BatchNorm(outputs, **kinds)

    def __call__(
        self, x: Float[Array, "n height width inputs"]
    ) -> Float[Array, "n rows columns outputs"]:
        return self.norm(self.conv(x))


class Bottleneck(nnx.Module):
    """Convolutions 1x1, 3x3, 1x1 with batch norm, beside a shortcut."""

    def __init__(
        self, inputs: int, channels: int, stride: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        outputs = EXPANSION * channels
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.conv1 = Convolution(inputs, channels, (1, 1), **kinds)
        self.conv2 = Convolution(
            channels, channels, (3, 3), stride=(stride, stride), padding=(1, 1), **kinds
        )
        self.conv3 = Convolution(channels, outputs, (1, 1), **kinds)
        self.bn1, self.bn2 = (BatchNorm(channels, arithmetic=arithmetic) for _ in range(2))
        self.bn3 = BatchNorm(outputs, arithmetic=arithmetic)
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else Downsample(inputs, outputs, stride, **kinds)

    def __call__(
        self, x: Float[Array, "n height width inputs"]
    ) -> Float[Array, "n rows columns outputs"]:
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = jax.nn.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return rectified_sum(y, x if self.downsample is None else self.downsample(x))


class ResNet(nnx.Module):
    """Pictures to the average of the last layer; the classifier is left out.

    Args:
      blocks: in each of four layers.
      channels: of the stem, and of the first layer's bottlenecks; each layer doubles them.
    """

    def __init__(
        self,
        blocks: tuple[int, ...] = (3, 8, 36, 3),
        channels: int = 64,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        kinds = {"arithmetic": Arithmetic.named(dtype, precision)}
        self.conv1 = Convolution(
            3, channels, (7, 7), stride=(2, 2), padding=(3, 3), **kinds, rngs=rngs
        )
        self.bn1 = BatchNorm(channels, **kinds)
        inputs = channels
        for index, count in enumerate(blocks):
            width, layer = channels << index, []
            for number in range(count):
                stride = 2 if index and not number else 1
                layer.append(Bottleneck(inputs, width, stride, **kinds, rngs=rngs))
                inputs = EXPANSION * width
            setattr(self, f"layer{index + 1}", nnx.List(layer))
        self.layers = len(blocks)

    def stages(self, x: Float[Array, "n height width 3"]) -> Iterator[tuple[str, Array]]:
        """What is computed of normalised pictures on the way to the average, with names."""
        x = max_pool(jax.nn.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        yield "stem", x
        for index in range(1, self.layers + 1):
            for number, block in enumerate(getattr(self, f"layer{index}")):
                x = block(x)
                yield f"layer{index}.{number}", x

    def __call__(self, x: Float[Array, "n height width 3"]) -> Float[Array, "n features"]:
        """Features of normalised pictures; 2048 of ResNet-152, none negative, in float32."""
        *_, (_, last) = self.stages(x)
        return last.mean(axis=(1, 2), dtype="float32")

    def features(self, pictures: UInt8[Array, "n height width 3"]) -> Float[Array, "n features"]:
        """Features of RGB pictures of 0..255."""
        return self(normalised(pictures, MEAN, STD))
