"""Batches whose clips have fewer segments than arrays have room for, and their clips alone."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from avvp_jax.nn.functional import Network, Variables

SEGMENTS = 7


def variables_of(network: Network) -> Variables:
    """Made up by NumPy: to draw a network's own ones compiles many programs."""
    rng = np.random.default_rng(0)

    def one(path, shape):
        if path[-1].key == "var":
            return jnp.asarray(rng.uniform(0.5, 1.5, shape.shape), jnp.float32)
        x = 0.4 * rng.standard_normal(shape.shape)
        return jnp.asarray(x + (path[-1].key == "scale"), shape.dtype)

    return jax.tree_util.tree_map_with_path(one, network.shapes())


def cut(tree: PyTree, row: int, length: int, segments: int = SEGMENTS) -> PyTree:
    """The arrays of one clip alone: those with an axis of segments after the videos' are cut."""

    def one(x):
        x = x[row : row + 1]
        return x[:, :length] if x.ndim > 1 and x.shape[1] == segments else x

    return jax.tree.map(one, tree)


def spoilt(tree: PyTree, lengths: Sequence[int], size: float = 1e30) -> PyTree:
    """Copies of arrays [videos, segments, ...], with large numbers behind the clips' ends."""
    rng = np.random.default_rng(99)

    def one(x):
        x = np.array(x)
        for row, length in enumerate(lengths):
            x[row, length:] = size * rng.standard_normal(x[row, length:].shape)
        return x

    return jax.tree.map(one, tree)


def drawn(widths: dict[str, int], lengths: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Features by role of clips of these lengths, with zeros behind them."""
    rng = np.random.default_rng(seed)
    shape = len(lengths), SEGMENTS
    found = {role: rng.standard_normal((*shape, w), np.float32) for role, w in widths.items()}
    for x in found.values():
        for row, length in enumerate(lengths):
            x[row, length:] = 0
    return found


def assert_close(found: PyTree, wanted: PyTree, tolerance: float = 2e-5) -> None:
    """All leaves are equal but for float32's rounding, measured by the largest number of each."""

    def one(path, x, y):
        x, y = np.asarray(x), np.asarray(y)
        size = max(np.abs(y).max(initial=0), 1e-2)
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * size, err_msg=name)

    jax.tree_util.tree_map_with_path(one, found, wanted)
