"""HAN's training against the published program."""

import jax
import numpy as np
import pytest

from avvp_jax.methods import METHODS
from avvp_jax.methods.han import stages as han
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from configs.han import get_config
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden


def test_training_equals_the_published_program(golden, published_network, recipe_batch):
    """Losses of each step and weights after the last, within golden/README's tolerances."""
    numbers = golden("han")
    seed, steps = int(numbers["seed"]), int(numbers["train/steps"])
    network, variables, unused = published_network("han", seed)
    config = get_config()
    optimizer = make_optimizer(config.optimizer)
    rates = make_schedule(config.schedule, config.train.epochs)(1)
    step = jax.jit(make_step(network, han.loss, optimizer))
    state, losses = begin(optimizer, variables), []
    for index in range(steps):
        batch = recipe_batch(8, 1000 * seed + index + 1)
        state, logged = step(state, batch, keys.root_key(0), rates)
        losses += [logged[f"loss/{part}"] for part in ("audio", "visual", "global")]
        np.testing.assert_allclose(logged["loss"], sum(losses[-3:]), rtol=1e-5)
    np.testing.assert_allclose(losses, numbers["train/losses"], rtol=1e-4)
    layout = METHODS["han"].layout
    assert_weights(state.variables, layout, unused, numbers, "train/after/", moved=3e-4 * steps)
