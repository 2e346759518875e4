"""Features of each class of a segment, by small networks of which every class has its own.

Zhao et al., AAAI 2025 (MM-CSE). The same layer of all classes is one weight and one product.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from avvp_jax.nn.dropout import Dropout
from avvp_jax.nn.layers import Arithmetic, linear, uniform_fan_in

Tokens = Float[Array, "videos segments width"]
# For each of `slots` classes, or of all classes and the background, the last.
Slots = Float[Array, "videos segments slots part"]
ClassFeatures = Float[Array, "videos segments classes part"]


class ClassLinear(nnx.Module):
    """A linear layer with a kernel and a bias for each class, initialised as `linear`."""

    def __init__(
        self, classes: int, inputs: int, outputs: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        init = uniform_fan_in(inputs)
        self.kernel = nnx.Param(init(rngs.params(), (classes, inputs, outputs)))
        self.bias = nnx.Param(init(rngs.params(), (classes, outputs)))
        self.arithmetic = arithmetic

    def __call__(
        self, x: Float[Array, "*batch classes inputs"]
    ) -> Float[Array, "*batch classes outputs"]:
        """Maps the features of each class."""
        return self._product("...ki,kio->...ko", x)

    def of_all(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch classes outputs"]:
        """Maps the same features for each class."""
        return self._product("...i,kio->...ko", x)

    def _product(self, axes: str, x: Array) -> Array:
        dtype, precision = self.arithmetic.dtype, self.arithmetic.precision
        x, kernel, bias = (y.astype(dtype) for y in (x, self.kernel[...], self.bias[...]))
        return jnp.einsum(axes, x, kernel, precision=precision) + bias


class ClassHead(ClassLinear):
    """A number for each class, from the features of that class."""

    def __init__(self, width: int, classes: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        super().__init__(classes, width, 1, arithmetic=arithmetic, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch classes width"]) -> Float[Array, "*batch classes"]:
        return super().__call__(x)[..., 0]


class Decoupling(nnx.Module):
    """Takes a token apart into features of each class and of the background.

    Args:
      slots: classes and the background.
      deep: whether there is a second layer, after dropout.
    """

    def __init__(
        self,
        width: int,
        part: int,
        slots: int,
        *,
        deep: bool,
        dropout: float,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        made = {"arithmetic": arithmetic, "rngs": rngs}
        self.inner = ClassLinear(slots, width, part, **made)
        self.outer = ClassLinear(slots, part, part, **made) if deep else None
        self.dropout = dropout

    def __call__(self, tokens: Tokens, drop: Dropout) -> Slots:
        """Features of all slots; none is negative."""
        slots = jax.nn.relu(self.inner.of_all(jax.nn.relu(tokens)))
        if self.outer is None:
            return slots
        return jax.nn.relu(self.outer(drop(slots, self.dropout)))

    def entries(self, segments: int) -> int:
        """How many numbers of a video are dropped or kept."""
        slots, _, part = self.inner.kernel.shape
        return segments * slots * part if self.outer is not None and self.dropout else 0


class ForegroundShare(nnx.Module):
    """How much of a segment is of its classes, and not of the background: from 0 to 1."""

    def __init__(
        self, width: int, part: int, *, dropout: float, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        self.inner = linear(width, part, arithmetic=arithmetic, rngs=rngs)
        self.outer = linear(part, 1, arithmetic=arithmetic, rngs=rngs)
        self.dropout = dropout

    def __call__(self, tokens: Tokens, drop: Dropout) -> Float[Array, "videos segments 1"]:
        hidden = jax.nn.relu(self.inner(jax.nn.relu(tokens)))
        return jax.nn.sigmoid(self.outer(drop(hidden, self.dropout)))

    def entries(self, segments: int) -> int:
        """How many numbers of a video are dropped or kept."""
        return segments * self.inner.out_features if self.dropout else 0


class ClassExtractor(nnx.Module):
    """Features of each class of one modality's segments, and the tokens rebuilt from their parts.

    Args:
      width: of tokens.
      part: width of the features of a class.
    """

    def __init__(
        self,
        width: int,
        part: int,
        classes: int,
        *,
        deep: bool,
        dropout: float,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        made = {"arithmetic": arithmetic, "rngs": rngs}
        slots = classes + 1
        self.decoupling = Decoupling(width, part, slots, deep=deep, dropout=dropout, **made)
        self.share = ForegroundShare(width, part, dropout=dropout, **made)
        self.reduce = linear(2 * part, part, **made)
        self.inner = linear(slots * part, width, **made)
        self.outer = linear(width, width, **made)

    def __call__(self, tokens: Tokens, drop: Dropout) -> tuple[ClassFeatures, Slots]:
        """The features of each class, with the background mixed in, and those before of all slots.

        Args:
          drop: takes `entries` numbers of a video.
        """
        slots = self.decoupling(tokens, drop)
        share = self.share(tokens, drop)[..., None]
        own, background = slots[:, :, :-1], slots[:, :, -1:]
        background = jnp.broadcast_to((1 - share) * background, own.shape)
        mixed = jnp.concatenate([share * own, background], axis=-1)
        return jax.nn.relu(self.reduce(mixed)), slots

    def rebuilt(self, slots: Slots) -> Tokens:
        """The tokens that all slots together are like."""
        together = slots.reshape(*slots.shape[:2], -1)
        return jax.nn.relu(self.outer(jax.nn.relu(self.inner(together))))

    def entries(self, segments: int) -> int:
        """How many numbers of a video are dropped or kept."""
        return self.decoupling.entries(segments) + self.share.entries(segments)
