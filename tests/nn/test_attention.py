"""Attention to long sequences, which is computed in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from avvp_jax.nn import attention
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic

TIME, WIDTH, HEADS = 70, 24, 3
BIASES = {
    "none": None,
    "causal": np.where(np.tri(TIME, dtype=bool), 0, -np.inf).astype("f4"),
    "of heads": np.random.default_rng(2).standard_normal((HEADS, TIME, TIME), np.float32),
}


def made(dtype: str = "float32", dropout: float = 0.0) -> Attention:
    arithmetic = Arithmetic.named(dtype, "highest")
    layer = Attention(WIDTH, HEADS, dropout=dropout, arithmetic=arithmetic, rngs=nnx.Rngs(0))
    layer.in_bias[...] = jax.random.normal(jax.random.key(1), (3 * WIDTH,))
    return layer


def both(monkeypatch, attend):
    """What `attend` gives of sequences that count as long, and as short."""
    monkeypatch.setattr(attention, "_MANY_STEPS", TIME)
    long = attend()
    monkeypatch.setattr(attention, "_MANY_STEPS", 10 * TIME)
    monkeypatch.setattr(Attention, "_mixed_of_many", None)
    return long, attend()


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("scale", [1, 300])  # at the larger one exp of the logits would overflow
def test_long_sequences_are_attended_to_as_short_ones(bias, scale, monkeypatch):
    x = scale * jax.random.normal(jax.random.key(0), (2, 5, TIME, WIDTH))
    long, short = both(monkeypatch, lambda: made().to_itself(x, bias=BIASES[bias]))
    assert np.isfinite(short).all()
    np.testing.assert_allclose(long, short, rtol=2e-4, atol=2e-6 * scale)


def test_a_long_context_is_attended_to_as_a_short_one(monkeypatch):
    query, context = (jax.random.normal(jax.random.key(n), (3, n, WIDTH)) for n in (4, TIME))
    long, short = both(monkeypatch, lambda: made().to_context(query, context))
    np.testing.assert_allclose(long, short, rtol=1e-5, atol=1e-6)


def test_gradients_and_dropout_are_those_of_short_sequences(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, TIME, WIDTH))
    layer, entries = made(dropout=0.5), HEADS * TIME * TIME

    def loss(x):
        drop = Dropout.drawn(jax.random.key(3), 2, entries)
        return jnp.square(layer.to_itself(x, drop)).sum()

    undropped = jnp.square(layer.to_itself(x, NO_DROPOUT)).sum()
    long, short = both(monkeypatch, lambda: jax.value_and_grad(loss)(x))
    assert abs(short[0] / undropped - 1) > 1e-3
    np.testing.assert_allclose(long[0], short[0], rtol=1e-5)
    np.testing.assert_allclose(long[1], short[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_weights_are_those_of_the_heads_averaged_after_dropout(dropout, monkeypatch):
    layer, x = made(dropout=dropout), jax.random.normal(jax.random.key(0), (2, TIME, WIDTH))

    def attended():
        drop = Dropout.drawn(jax.random.key(3), 2, HEADS * TIME * TIME)
        return layer.to_itself(x, drop, weights=True)

    (long, long_weights), (short, weights) = both(monkeypatch, attended)
    np.testing.assert_allclose(long_weights, weights, rtol=1e-4, atol=1e-6)
    drop = Dropout.drawn(jax.random.key(3), 2, HEADS * TIME * TIME)
    np.testing.assert_array_equal(layer.to_itself(x, drop), short)
    projected = x @ layer.in_kernel[...] + layer.in_bias[...]
    q, k, _ = (y.reshape(2, TIME, HEADS, -1) for y in jnp.split(projected, 3, axis=-1))
    heads = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) * (WIDTH / HEADS) ** -0.5)
    drop = Dropout.drawn(jax.random.key(3), 2, HEADS * TIME * TIME)
    np.testing.assert_allclose(weights, drop(heads, dropout).mean(axis=1), rtol=1e-4, atol=1e-6)
    assert (weights.sum(axis=-1).std() > 0.01) == (dropout > 0)


@pytest.mark.parametrize("few", [1, 2, 4])  # of six heads
def test_a_cpu_takes_few_heads_at_a_time_with_the_same_result(few, monkeypatch):
    x, layer = jax.random.normal(jax.random.key(0), (2, TIME, WIDTH)), made()

    def attended(steps):
        monkeypatch.setattr(attention, "_WHOLE", steps)
        monkeypatch.setattr(attention, "_HEADS", few)
        program = jax.jit(lambda x: layer.to_itself(x))
        lowered = [program.trace(x).lower(lowering_platforms=(on,)) for on in ("cpu", "tpu")]
        loops = ["while" in each.as_text() for each in lowered]
        (_, weights), gradients = layer.to_itself(x, weights=True), jax.grad(squares)(x)
        return (program(x), weights, gradients), loops

    def squares(x):
        return jnp.square(layer.to_itself(x)).sum()

    (whole, no_loops), (parts, loops) = attended(TIME), attended(TIME - 1)
    assert no_loops == [False, False] and loops == [True, False]
    for own, wanted in zip(parts, whole, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-5)


def test_weights_of_another_stream_have_a_row_for_each_own_step():
    layer, pair = made(), jax.random.normal(jax.random.key(0), (2, 2, 5, 7, WIDTH))
    mixed, weights = layer.to_each_other(pair, weights=True)
    np.testing.assert_array_equal(mixed, layer.to_each_other(pair))
    assert weights.shape == (2, 2, 5, 7, 7) and weights.dtype == jnp.float32
    other = layer.to_each_other(pair.at[:, 1].set(0), weights=True)[1]
    np.testing.assert_allclose(other[:, 0].std(axis=-1), 0, atol=1e-6)  # all keys are alike
    assert weights[:, 0].std() > 0.01


def test_long_sequences_of_bfloat16_stay_so(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, TIME, WIDTH), jnp.bfloat16)
    long, short = both(monkeypatch, lambda: made("bfloat16").to_itself(x))
    assert long.dtype == short.dtype == jnp.bfloat16
    np.testing.assert_allclose(*(y.astype("f4") for y in (long, short)), atol=0.03)
