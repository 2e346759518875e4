"""CLIP's transformers (Radford et al. 2021): pictures and prompts to unit rows of one space."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from avvp_jax.encoders.convolutions import Convolution
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# ViT-L/14, in the order of the towers' arguments.
LARGE_VISION = (1024, 24, 16, 4096, 14, 224, 768)
LARGE_TEXT = (49408, 77, 768, 12, 12, 3072, 768)
PART = 5  # pictures that a core of a CPU computes at a time, which is fastest there


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """CLIP's own approximation of GELU, by a sigmoid."""
    return x * jax.nn.sigmoid(1.702 * x)


def unit(x: Float[Array, "n width"]) -> Float[Array, "n width"]:
    """Rows divided by their L2 norm, in float32. A row of zeros becomes NaN, as published."""
    x = x.astype(jnp.float32)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class Block(nnx.Module):
    """Attention and a feed-forward network, each added to its input and normalised before."""

    def __init__(self, width: int, heads: int, mlp: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.attention = Attention(width, heads, dropout=0.0, **kinds)
        self.linear1, self.linear2 = linear(width, mlp, **kinds), linear(mlp, width, **kinds)
        self.norm1, self.norm2 = (
            layer_norm(width, dtype=arithmetic.dtype, rngs=rngs) for _ in range(2)
        )

    def __call__(
        self, x: Float[Array, "n time width"], bias: Float[ArrayLike, "..."] | None = None
    ) -> Float[Array, "n time width"]:
        """For `bias`, see Attention.to_itself."""
        return self._fed(x + self.attention.to_itself(self.norm1(x), bias=bias))

    def first(self, x: Float[Array, "n time width"]) -> Float[Array, "n 1 width"]:
        """What a call returns for the first step, which alone is computed."""
        normalised = self.norm1(x)
        return self._fed(x[:, :1] + self.attention.to_context(normalised[:, :1], normalised))

    def _fed(self, x: Float[Array, "n time width"]) -> Float[Array, "n time width"]:
        return x + self.linear2(quick_gelu(self.linear1(self.norm2(x))))


class VisionTower(nnx.Module):
    """Pictures to unit rows.

    Args:
      patch: pixels along the side of a patch, each of which becomes one step of a sequence.
      picture: pixels along the side of a picture.
      projection: width of the rows.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        mlp: int,
        patch: int,
        picture: int,
        projection: int,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        self.arithmetic = arithmetic = Arithmetic.named(dtype, precision)
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        small = nnx.initializers.normal(width**-0.5)
        self.class_embedding = nnx.Param(small(rngs.params(), (width,)))
        self.positions = nnx.Param(small(rngs.params(), ((picture // patch) ** 2 + 1, width)))
        self.patches = Convolution(3, width, (patch, patch), stride=(patch, patch), **kinds)
        self.pre_norm, self.post_norm = (
            layer_norm(width, dtype=arithmetic.dtype, rngs=rngs) for _ in range(2)
        )
        self.blocks = nnx.List([Block(width, heads, mlp, **kinds) for _ in range(layers)])
        self.projection = nnx.Param(small(rngs.params(), (width, projection)))

    def stages(
        self, x: Float[Array, "n size size 3"], whole: bool = True
    ) -> Iterator[tuple[str, Array]]:
        """What is computed of normalised pictures on the way to the projection, with names.

        Args:
          whole: whether the last block computes all steps. Only the first, the class's, is needed.
        """
        dtype = self.arithmetic.dtype
        x = self.patches(x)
        x = x.reshape(len(x), -1, x.shape[-1])
        first = jnp.broadcast_to(self.class_embedding[...].astype(dtype), (len(x), 1, x.shape[-1]))
        x = jnp.concatenate([first, x], axis=1) + self.positions[...].astype(dtype)
        x = self.pre_norm(x)
        yield "pre_norm", x
        for number, block in enumerate(self.blocks, 1):
            x = block(x) if whole or number < len(self.blocks) else block.first(x)
            yield f"block{number - 1}", x
        x = self.post_norm(x[:, 0])
        yield "post_norm", x
        yield "projection", _projected(x, self.projection[...], self.arithmetic)

    def __call__(self, x: Float[Array, "n size size 3"]) -> Float[Array, "n projection"]:
        """Unit rows of normalised pictures, in float32."""
        *_, (_, last) = self.stages(x, whole=False)
        return unit(last)

    def features(self, pictures: Float[Array, "n size size 3"]) -> Float[Array, "n projection"]:
        """Unit rows of RGB pictures of 0..1, in float32."""
        return self((pictures - np.array(MEAN, np.float32)) / np.array(STD, np.float32))


class TextTower(nnx.Module):
    """Prompts to unit rows. A word sees those before it alone.

    Args:
      vocabulary: the number of words; the last one ends a prompt.
      positions: words of the longest prompt.
      projection: width of the rows.
    """

    def __init__(
        self,
        vocabulary: int,
        positions: int,
        width: int,
        layers: int,
        heads: int,
        mlp: int,
        projection: int,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        self.arithmetic = arithmetic = Arithmetic.named(dtype, precision)
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        small = nnx.initializers.normal(0.02)
        self.words = nnx.Param(small(rngs.params(), (vocabulary, width)))
        self.positions = nnx.Param(small(rngs.params(), (positions, width)))
        self.blocks = nnx.List([Block(width, heads, mlp, **kinds) for _ in range(layers)])
        self.post_norm = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)
        self.projection = nnx.Param(small(rngs.params(), (width, projection)))

    def stages(self, ids: Int[Array, "n length"]) -> Iterator[tuple[str, Array]]:
        """What is computed on the way to the projection, with names."""
        length = ids.shape[1]
        words = jnp.asarray(self.words[...])[ids]
        x = (words + self.positions[:length]).astype(self.arithmetic.dtype)
        yield "embeddings", x
        causal = np.where(np.tri(length, dtype=bool), 0, -np.inf).astype(np.float32)
        for number, block in enumerate(self.blocks):
            x = block(x, causal)
            yield f"block{number}", x
        x = self.post_norm(x)
        yield "post_norm", x
        # argmax gives the first of several: prompts may be padded with the end.
        end = x[jnp.arange(len(x)), jnp.argmax(ids, axis=1)]
        yield "projection", _projected(end, self.projection[...], self.arithmetic)

    def __call__(self, ids: Int[Array, "n length"]) -> Float[Array, "n projection"]:
        """Unit rows of prompts, in float32.

        Args:
          ids: with a beginning and an end, the largest of all ids; what follows the end does not
            matter. No longer than the positions.
        """
        *_, (_, last) = self.stages(ids)
        return unit(last)


def _projected(
    x: Float[Array, "n width"], kernel: Float[ArrayLike, "width projection"], arithmetic: Arithmetic
) -> Float[Array, "n projection"]:
    x, kernel = (y.astype(arithmetic.dtype) for y in (x, kernel))
    return jnp.matmul(x, kernel, precision=arithmetic.precision)
