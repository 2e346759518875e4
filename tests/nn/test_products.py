"""Products and their gradients."""

import jax
import numpy as np
import pytest

from avvp_jax.nn.layers import product

SHAPES = {"tall": (40, 3, 16, 2), "middle": (10, 3, 16, 8), "small": (4, 3, 16, 8)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
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


@pytest.mark.parametrize(
    ("shape", "turning"),
    [("tall", {"cpu", "cuda", "tpu"}), ("middle", {"cpu"}), ("small", set())],
)
def test_a_kernels_gradient_is_turned_where_that_is_less_to_transpose(shape, turning):
    """A CPU turns it as soon as it is less, other devices where it is less than half."""
    *rows, inputs, outputs = SHAPES[shape]

    def loss(x, kernel):
        return jax.numpy.sin(product(x, kernel, jax.lax.Precision.HIGHEST)).sum()

    traced = jax.jit(jax.grad(loss, 1)).trace(np.ones((*rows, inputs)), np.ones((inputs, outputs)))
    turned = {
        platform
        for platform in ("cpu", "cuda", "tpu")
        if "optimization_barrier" in traced.lower(lowering_platforms=(platform,)).as_text()
    }
    assert turned == turning
