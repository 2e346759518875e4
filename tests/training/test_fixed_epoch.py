"""The model after a fixed epoch, which a stage may keep beside the best."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from avvp_jax.nn.functional import make_network
from avvp_jax.training.checkpoints import Checkpoints, restore_best
from avvp_jax.training.optimizer import make_optimizer
from avvp_jax.training.selection import keep_best, no_best
from tests.first_states import begin
from tests.training.test_checkpoints import ADAM, Layers, after_epoch


def test_the_model_after_a_fixed_epoch_is_kept_beside_the_best(tmp_path):
    """It is stored when it is there, though no better model came, and after a later best one."""
    network = make_network(Layers, width=64, layers=1)
    state = begin(make_optimizer(ADAM), network.init(jax.random.key(0)))
    state = replace(state, best=no_best(state.variables, "segment/type", fixed=True))
    template, at = no_best(network.shapes(), "segment/type", fixed=True), {}
    checkpoints = Checkpoints(tmp_path)
    for epoch, score in enumerate([30, 20, 40, 10], start=1):
        before = state.best
        state = after_epoch(state, epoch, score)
        best = keep_best(before, state.variables, jnp.float32(score), state.epoch, "later", 2)
        state = replace(state, best=best)
        checkpoints.save(state, epoch, now=True)
        at[epoch] = int(state.best.epoch), int(state.best.fixed["epoch"])
        if epoch == 2:
            checkpoints.close()
            stored = restore_best(str(tmp_path), template)
            assert (int(stored.epoch), int(stored.fixed["epoch"])) == (1, 2)
            checkpoints = Checkpoints(tmp_path)
            state = checkpoints.restore(state)
    checkpoints.close()
    assert at == {1: (1, 0), 2: (1, 2), 3: (3, 2), 4: (3, 2)}
    stored = restore_best(str(tmp_path), template)
    assert all((leaf == 3).all() for leaf in jax.tree.leaves(stored.params))
    assert all((leaf == 2).all() for leaf in jax.tree.leaves(stored.fixed["params"]))
