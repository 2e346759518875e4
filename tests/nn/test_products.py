"""Products and their gradients."""

import jax
import numpy as np
import pytest

from avvp_jax.nn.layers import product


@pytest.mark.parametrize("shape", [(40, 3, 16, 2), (10, 3, 16, 8), (4, 3, 16, 8)])
@pytest.mark.parametrize("seeds", [None, 2])
def test_gradients_of_both_factors(shape, seeds):
    """Of many wide rows the kernel's gradient is computed turned, of fewer on a CPU alone."""
    *rows, inputs, outputs = shape
    rng, lead = np.random.default_rng(0), () if seeds is None else (seeds,)
    sizes = (*rows, inputs), (inputs, outputs), (*rows, outputs)
    x, kernel, upstream = (rng.standard_normal((*lead, *size), np.float32) for size in sizes)

    def gradients(x, kernel, upstream):
        _, pull = jax.vjp(lambda *both: product(*both, jax.lax.Precision.HIGHEST), x, kernel)
        return pull(upstream)

    found = jax.jit(gradients if seeds is None else jax.vmap(gradients))(x, kernel, upstream)
    of_x = np.einsum("...abo,...io->...abi", upstream, kernel)
    of_kernel = np.einsum("...abi,...abo->...io", x, upstream)
    for one, wanted in zip(found, (of_x, of_kernel), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-4)
