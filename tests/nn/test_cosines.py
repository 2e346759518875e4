"""Cosines in pairs and each with each, of zero vectors too."""

import jax
import numpy as np
import pytest

from avvp_jax.nn.cosines import cosine, cosines

HIGHEST = jax.lax.Precision.HIGHEST


def drawn(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def test_each_with_each_and_in_pairs_are_the_textbooks():
    x, y = drawn(2, 3, 8), drawn(2, 5, 8)
    units = [z / np.linalg.norm(z, axis=-1, keepdims=True) for z in map(np.float64, (x, y))]
    want = units[0] @ units[1].swapaxes(1, 2)
    np.testing.assert_allclose(cosines(x, y, HIGHEST), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cosine(x[:, :, None], y[:, None]), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-30])
def test_a_vector_without_length_is_like_none_and_has_a_gradient(size):
    x, y = drawn(1, 3, 8), drawn(1, 4, 8)[:, :3]
    x = x.at[:, 1].multiply(size)

    def total(x):
        return cosines(x, y, HIGHEST).sum() + cosine(x, y).sum()

    assert not np.asarray(cosines(x, y, HIGHEST))[:, 1].round(6).any()
    assert not np.asarray(cosine(x, y))[:, 1].round(6).any()
    slope = np.asarray(jax.jit(jax.grad(total))(x))
    assert np.isfinite(slope).all() and slope.any(axis=-1).all()
