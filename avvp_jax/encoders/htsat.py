"""CLAP's tower of sound: HTS-AT (Chen et al. 2022), a Swin Transformer of log-mel spectrograms."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from avvp_jax.encoders.clap_layers import Projection
from avvp_jax.encoders.clap_sound import BANDS, FRAMES
from avvp_jax.encoders.convolutions import BatchNorm
from avvp_jax.encoders.swin import Stage
from avvp_jax.nn.layers import Arithmetic, layer_norm, uniform_fan_in
from avvp_jax.streams import bicubic_matrix

# HTSAT-tiny, in the order of the tower's arguments.
TINY = (96, (2, 2, 6, 2), (4, 8, 16, 32), 512)
PATCH = 4  # the side of a patch: bands, and frames
CHUNKS = 4  # of a spectrogram, one below the other in the picture
RESIZED = 1024  # frames
PART = 2  # clips that a core of a CPU computes at a time, which is fastest there
SIDE = CHUNKS * BANDS // PATCH  # of the map of patches: 64


class PatchEmbedding(nnx.Module):
    """A token of each patch."""

    def __init__(self, width: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        self.proj = PatchProjection(width, arithmetic=arithmetic, rngs=rngs)
        self.norm = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)


class PatchProjection(nnx.Module):
    """A convolution whose stride is its size, as a matrix product; the kernel is published so."""

    def __init__(self, width: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        init = uniform_fan_in(PATCH**2)
        self.kernel = nnx.Param(init(rngs.params(), (PATCH, PATCH, 1, width), jnp.float32))
        self.bias = nnx.Param(init(rngs.params(), (width,), jnp.float32))
        self.arithmetic = arithmetic

    def __call__(self, x: Float[Array, "n frames bands"]) -> Float[Array, "n rows columns width"]:
        """Of spectrograms that are cut into CHUNKS; rows are bands, columns time."""
        dtype, n = self.arithmetic.dtype, len(x)
        columns, groups = RESIZED // CHUNKS // PATCH, BANDS // PATCH
        x = x.reshape(n, CHUNKS, columns, PATCH, groups, PATCH).transpose(0, 1, 4, 2, 5, 3)
        x = x.reshape(n, SIDE, columns, PATCH**2).astype(dtype)
        kernel = self.kernel[...].reshape(PATCH**2, -1).astype(dtype)
        y = jnp.matmul(x, kernel, precision=self.arithmetic.precision)
        return y + self.bias[...].astype(dtype)


class HTSAT(nnx.Module):
    """Log-mel spectrograms of ten seconds to feature maps, and those to embeddings.

    Of CLAP's fusion model it is the path of clips of up to ten seconds. What longer ones need, the
    fusion of parts at random, is left out.

    Args:
      width: of the first stage; each stage doubles it.
      depths: blocks of each stage.
      heads: of each stage's attention.
      joint: width of embeddings.
      window: side of the windows, in tokens.
    """

    def __init__(
        self,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (4, 8, 16, 32),
        joint: int = 512,
        window: int = 8,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        self.arithmetic = arithmetic = Arithmetic.named(dtype, precision)
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.bn0 = BatchNorm(BANDS, arithmetic=Arithmetic.named("float32", precision))
        self.patch_embed = PatchEmbedding(width, **kinds)
        last = len(depths) - 1
        self.layers = nnx.List(
            Stage(width << at, depth, heads[at], SIDE >> at, window, at < last, **kinds)
            for at, depth in enumerate(depths)
        )
        self.norm = layer_norm(width << last, dtype=arithmetic.dtype, rngs=rngs)
        self.projection = Projection(width << last, joint, **kinds)

    def stages(self, log_mel: Float[Array, "n frames bands"]) -> Iterator[tuple[str, Array]]:
        """What is computed on the way to the map, with names; the map as a square at last."""
        x = self.bn0(log_mel)
        yield "bn0", x
        matrix = bicubic_matrix(FRAMES, RESIZED, corners_aligned=True).astype(np.float32)
        x = jnp.einsum("rf,nfb->nrb", matrix, x, precision=self.arithmetic.precision)
        x = self.patch_embed.proj(x)
        yield "patch_embed.proj", x
        x = self.patch_embed.norm(x)
        yield "patch_embed", x
        for at, layer in enumerate(self.layers):
            for name, value in layer.stages(x):
                yield f"layers.{at}{name}", value
            x = value
        yield "norm", self.norm(x)

    def features(self, log_mel: Float[Array, "n frames bands"]) -> Float[Array, "n rows width"]:
        """Maps of log-mel spectrograms [1001, 64] in dB, float32.

        64 rows: row 32 * (half of the frequencies) + time.
        """
        *_, (_, x) = self.stages(log_mel)
        n, side, _, width = x.shape
        x = x.reshape(n, CHUNKS, side // CHUNKS, side, width).transpose(0, 2, 1, 3, 4)
        return x.reshape(n, side**2, width).astype(jnp.float32)

    def embedding(self, features: Float[Array, "n rows width"]) -> Float[Array, "n joint"]:
        """The embeddings of maps, rows of norm 1, float32."""
        return self.projection(features.mean(axis=1).astype(self.arithmetic.dtype))

    def __call__(self, log_mel: Float[Array, "n frames bands"]) -> Float[Array, "n joint"]:
        """The embeddings of log-mel spectrograms [1001, 64] in dB: rows of norm 1, float32."""
        return self.embedding(self.features(log_mel))
