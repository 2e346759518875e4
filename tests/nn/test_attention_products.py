"""Attention's products and their gradients, as a CPU computes them and as other devices do."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.nn.attention_products import attention_logits, mixed_values

VIDEOS, TIME, STEPS, PART = 3, 6, 4, 5
HIGHEST = jax.lax.Precision.HIGHEST


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def attended(q, k, v):
    return mixed_values(attention_logits(q, k, HIGHEST), v, HIGHEST)


def by_definition(q, k, v):
    logits = jnp.einsum("...thd,...shd->...hts", q, k, precision=HIGHEST) * PART**-0.5
    return jnp.einsum("...hts,...shd->...thd", logits, v, precision=HIGHEST)


def gradients(attend):
    return jax.jit(jax.value_and_grad(lambda *x: jnp.sin(attend(*x)).sum(), argnums=(0, 1, 2)))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("streams", [(), (2,)], ids=["one stream", "two"])
@pytest.mark.parametrize("seeds", [(), (2,)], ids=["one seed", "two"])
def test_products_and_gradients_are_those_of_the_definition(heads, streams, seeds):
    lead = *seeds, VIDEOS, *streams
    shapes = [(*lead, length, heads, PART) for length in (TIME, STEPS, STEPS)]
    arrays = [numbers(*shape) + n for n, shape in enumerate(shapes)]
    own, wanted = gradients(attended), gradients(by_definition)
    if seeds:
        own, wanted = jax.vmap(own), jax.vmap(wanted)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4),
        own(*arrays),
        wanted(*arrays),
    )


def test_queries_may_have_an_axis_of_length_one_where_keys_have_a_longer_one():
    q, k, v = numbers(VIDEOS, 1, TIME, 2, PART), *(numbers(VIDEOS, 4, STEPS, 2, PART),) * 2
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4),
        gradients(attended)(q, k, v),
        gradients(by_definition)(q, k, v),
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_gradient_has_the_dtype_of_its_own(dtype):
    q, k, v = (x.astype(jnp.bfloat16) for x in [numbers(VIDEOS, STEPS, 2, PART)] * 3)

    def attended(q, k, v):
        weights = attention_logits(q, k, HIGHEST).astype(dtype)
        return mixed_values(weights, v, HIGHEST).astype(jnp.float32)

    assert all(x.dtype == jnp.bfloat16 for x in gradients(attended)(q, k, v)[1])


def test_on_a_cpu_products_contract_the_last_axis_of_the_first_factor_as_it_lies_in_memory():
    """XLA's fast products for CPUs are of that form; another one took five times as long."""
    traced = gradients(attended).trace(*[numbers(VIDEOS, STEPS, 2, PART)] * 3)
    texts = {on: traced.lower(lowering_platforms=(on,)).as_text() for on in ("cpu", "cuda")}
    contracted = {on: set(re.findall(r"contracting_dims = \[(\d)\] x", texts[on])) for on in texts}
    assert contracted["cpu"] == {"3"} and contracted["cuda"] > {"3"}
    barriers = [texts[on].count("optimization_barrier") for on in ("cpu", "cuda")]
    assert barriers == [2, 0]  # or XLA would put the two transposed weights into the products
