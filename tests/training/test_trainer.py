"""Training: golden numbers, and that no convenience of ours changes a result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from avvp_jax.methods.han import stages as han
from avvp_jax.methods.targets import targets
from avvp_jax.nn.functional import parser_network
from avvp_jax.nn.layers import product
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.order import epoch_order
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import make_step, take_batch
from tests.first_states import begin, first_seed, han_trainer, one_seed

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})
STEP = ConfigDict({"kind": "step", "learning_rate": 3e-4, "factor": 0.1, "every_epochs": 10})
WIDTHS = (6, 7, 5)


def data(videos: int) -> BatchArrays:
    rng = np.random.default_rng(0)
    roles = zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
    features = {r: rng.standard_normal((videos, 10, w), np.float32) for r, w in roles}
    label = (rng.random((videos, 25)) < 0.2).astype("f4")
    return BatchArrays({"features": features, "targets": targets(label)})


def trained(model: dict, videos=22, batch_size=4, steps_per_call=100, epochs=2, shuffle=True):
    network, root = parser_network(WIDTHS, len(LLP.classes), model), keys.root_key(5)
    optimizer = make_optimizer(ADAM)
    trainer = han_trainer(
        network,
        optimizer,
        make_schedule(STEP, 40),
        root[None],
        data(videos),
        batch_size=batch_size,
        shuffle=shuffle,
        steps_per_call=steps_per_call,
    )
    state = one_seed(begin(optimizer, network.init(keys.init_key(root))))
    state = trainer.with_zero_sums(state)
    for epoch in range(1, epochs + 1):
        state, logged = trainer.run_epoch(state, epoch)
    return jax.device_get(first_seed(state)), jax.device_get(first_seed(logged))


def assert_identical(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("steps_per_call", [1, 4])
def test_steps_per_call_does_not_change_a_bit(small_model, steps_per_call):
    assert_identical(trained(small_model), trained(small_model, steps_per_call=steps_per_call))


def test_the_smaller_last_batch_counts_as_a_step_of_its_own_mean(small_model):
    """22 videos in batches of 4: five full steps and one on two videos."""
    model = small_model | {"dropout": 0.0}
    state, _ = trained(model, epochs=1, shuffle=False)
    network, optimizer = parser_network(WIDTHS, len(LLP.classes), model), make_optimizer(ADAM)
    root = keys.root_key(5)
    step, rates = jax.jit(make_step(network, han.loss, optimizer)), make_schedule(STEP, 40)(1)
    by_hand = begin(optimizer, network.init(keys.init_key(root)))
    for start in range(0, 22, 4):
        rows = np.arange(start, min(start + 4, 22))
        by_hand, _ = step(by_hand, take_batch(data(22), rows, 0), root, rates)
    assert int(state.optimizer.count) == 6
    for path, weight in flatten_dict(state.params).items():
        expected = flatten_dict(by_hand.params)[path]
        # A softmax ignores these biases: Adam makes steps of their gradient's rounding noise.
        idle = path[-1] == "in_bias" or path[-2] in ("fc_frame_att", "fc_av_att")
        np.testing.assert_allclose(weight, expected, atol=2 * 6 * 3e-4 if idle else 2e-6)


def test_an_epoch_sees_every_video_once_in_a_new_order():
    root = keys.root_key(0)
    orders = [np.asarray(epoch_order(root, jnp.int32(e), 10, 4, True)) for e in (1, 2, 1)]
    assert orders[0].shape == (3, 4)
    for order in orders:
        assert sorted(order.ravel()) == [-1, -1, *range(10)]
    assert (orders[0] != orders[1]).any()
    np.testing.assert_array_equal(orders[0], orders[2])
    plain = epoch_order(root, jnp.int32(1), 10, 4, False)
    np.testing.assert_array_equal(plain.ravel()[:10], np.arange(10))


def test_logged_numbers_are_means_over_steps(small_model):
    _, logged = trained(small_model, epochs=1)
    parts = [logged[f"loss/{part}"] for part in ("audio", "visual", "global")]
    np.testing.assert_allclose(logged["loss"], sum(parts), rtol=1e-5)
    assert logged["gradient_norm"] > 0


def test_the_learning_rate_drops_every_ten_epochs():
    rates = [float(make_schedule(STEP, 40)(epoch)) for epoch in (1, 10, 11, 20, 21, 40)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 3e-5, 3e-5, 3e-6, 3e-7], rtol=1e-6)


def test_every_epoch_and_training_has_its_own_rate_and_the_same_program(small_model):
    """At a rate of zero from the second epoch on, nothing moves any more."""
    network = parser_network(WIDTHS, len(LLP.classes), small_model | {"dropout": 0.0})
    optimizer, root = make_optimizer(ADAM), keys.root_key(5)
    schedule = make_schedule(ConfigDict({**STEP, "factor": 0.0, "every_epochs": 1}), 40)
    trainer = han_trainer(network, optimizer, schedule, root[None], data(8))
    state = trainer.with_zero_sums(one_seed(begin(optimizer, network.init(keys.init_key(root)))))
    params = [jax.device_get(state.params)]
    for epoch in (1, 2):
        state, _ = trainer.run_epoch(state, epoch)
        params.append(jax.device_get(state.params))
    assert_identical(params[1], params[2])
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, params[:2]), strict=True))
    assert trainer._run_steps._cache_size() == 1
    other = han_trainer(network, optimizer, make_schedule(STEP, 40), root[None], data(8))
    assert other._run_steps is trainer._run_steps


def test_every_step_and_epoch_has_dropout_of_its_own(small_model):
    """On two equal halves of data and a standing network, only dropout tells steps apart."""
    model = small_model | {"dropout": 0.5}
    still = ConfigDict({**STEP, "learning_rate": 0.0})
    half = data(4)
    both = jax.tree.map(lambda x: np.concatenate([x, x]), half)
    losses = {}
    for name, arrays in (("one step", half), ("two steps", both)):
        network, root = parser_network(WIDTHS, len(LLP.classes), model), keys.root_key(5)
        optimizer, schedule = make_optimizer(ADAM), make_schedule(still, 40)
        trainer = han_trainer(network, optimizer, schedule, root[None], arrays, shuffle=False)
        state = one_seed(begin(optimizer, network.init(keys.init_key(root))))
        state = trainer.with_zero_sums(state)
        for epoch in (1, 2):
            state, logged = trainer.run_epoch(state, epoch)
            losses[name, epoch] = float(logged["loss"][0])
    assert len(set(losses.values())) == 4


def test_a_product_has_jaxs_gradients():
    x, kernel = (jax.random.normal(keys.root_key(i), s) for i, s in enumerate(((2, 3, 4), (4, 5))))
    for which in (0, 1):
        ours, jaxs = (
            jax.grad(lambda *both, f=f: jnp.sin(f(*both)).sum(), argnums=which)(x, kernel)
            for f in (lambda *both: product(*both, jax.lax.Precision.HIGHEST), jnp.matmul)
        )
        np.testing.assert_allclose(ours, jaxs, rtol=1e-5, atol=1e-6)
