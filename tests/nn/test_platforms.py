"""Networks compute the same on a TPU as elsewhere, though not in the same way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from avvp_jax.methods.mm_cse import method as mm_cse
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.nn.functional import make_network, parser_network
from avvp_jax.nn.layers import Arithmetic
from tests.platforms import branch_for

WIDTHS, CLASSES = (6, 7, 5), 25
MODELS = {
    "HAN": {},
    "VALOR+": {"order": "sequential", "layers": 3},
    "pre-norm": {"norm": "pre", "layers": 2},
    "estimator": {"cross_attention": False, "layers": 2},
    "MM-CSE": {"class_width": 8, "layers": 3},
}


def outputs_and_gradient(model: dict, key) -> dict:
    if "class_width" in model:
        known = {name: model[name] for name in mm_cse.MODEL}
        network = make_network(ClassParser, WIDTHS, CLASSES, **known)
    else:
        network = parser_network(WIDTHS, CLASSES, model)
    variables, rng = network.init(jax.random.key(0)), np.random.default_rng(0)
    roles = zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
    features = {role: rng.standard_normal((3, 10, width), np.float32) for role, width in roles}

    def loss(params):
        output = network.module({"params": params, "stats": {}})(features, key)
        return sum((x**2).sum() for x in jax.tree.leaves(output)), output

    (_, output), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    return {"output": output, "gradient": gradient}


@pytest.mark.parametrize("name", MODELS)
def test_a_tpu_computes_what_others_do(name, small_model, monkeypatch):
    """With dropout: its masks are the same too."""
    model, key = small_model | MODELS[name], jax.random.key(1)
    expected, asked = outputs_and_gradient(model, key), []

    def as_there(*arrays, **branches):
        asked.append("tpu" in branches)
        return branch_for("tpu")(*arrays, **branches)

    monkeypatch.setattr(jax.lax, "platform_dependent", as_there)
    found = outputs_and_gradient(model, key)
    assert any(asked)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-4, 1e-5), found, expected)


def test_sums_of_bfloat16_lose_no_more_than_products(monkeypatch):
    """Of one head of 512 numbers, in values and in gradients."""
    shape, rng = (4, 10, 512), np.random.default_rng(0)
    attention = Attention(
        512, 1, dropout=0.0, arithmetic=Arithmetic.named("bfloat16", "highest"), rngs=nnx.Rngs(0)
    )
    x, upstream = (rng.standard_normal(shape, np.float32) for _ in range(2))

    def gradient():
        def mean(x):
            return (attention.to_itself(x).astype(jnp.float32) * upstream).sum()

        return np.asarray(jax.grad(mean)(jnp.asarray(x)), np.float64)

    by_products = gradient()
    monkeypatch.setattr(jax.lax, "platform_dependent", branch_for("tpu"))
    by_sums = gradient()
    attention.arithmetic = Arithmetic.named("float32", "highest")
    attention.out_proj.dtype = jnp.float32
    exact = gradient()
    lost = [np.linalg.norm(found - exact) for found in (by_products, by_sums)]
    assert 0 < lost[1] < 1.2 * lost[0]
