"""Layers that CLAP's two towers share, of sound and of text."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from avvp_jax.nn.layers import Arithmetic, linear

_SMALLEST_NORM = 1e-12


def gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The exact GELU.

    By erf: JAX's own is by erfc, which on a CPU takes twice as long.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


class Mlp(nnx.Module):
    """Two linear maps and the exact GELU between them, of each token alone."""

    def __init__(self, width: int, hidden: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.fc1, self.fc2 = linear(width, hidden, **kinds), linear(hidden, width, **kinds)

    def __call__(self, x: Float[Array, "*n width"]) -> Float[Array, "*n width"]:
        return self.fc2(gelu(self.fc1(x)))


class Projection(nnx.Module):
    """From a tower's width to the space in which sound and text are compared."""

    def __init__(self, width: int, joint: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        kinds = {"arithmetic": arithmetic, "rngs": rngs}
        self.fc1, self.fc2 = linear(width, joint, **kinds), linear(joint, joint, **kinds)

    def __call__(self, x: Float[Array, "n width"]) -> Float[Array, "n joint"]:
        """Rows of norm 1, float32."""
        return unit_rows(self.fc2(jax.nn.relu(self.fc1(x))))


def unit_rows(x: Float[Array, "n width"]) -> Float[Array, "n width"]:
    """Rows of norm 1, float32."""
    x = x.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), _SMALLEST_NORM)
