"""Checkpoints: what is kept, what is restored, and in which order a run may be killed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from avvp_jax.checkpoints import Checkpoints, restore_best
from avvp_jax.errors import UserError
from avvp_jax.network import parser_network
from avvp_jax.optimizer import make_optimizer
from avvp_jax.selection import keep_best, no_best
from tests.training import begin

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})


@pytest.fixture
def network(small_model):
    return parser_network((6, 7, 5), small_model | {"layers": 2})


@pytest.fixture
def state(network):
    return begin(make_optimizer(ADAM), network.init(jax.random.key(0)))


def after_epoch(state: dict, epoch: int, score: float) -> dict:
    """The state as an epoch leaves it, its weights recognisable by the epoch."""
    params = jax.tree.map(lambda x: jnp.full_like(x, epoch), state["params"])
    state = state | {"params": params, "epoch": jnp.int32(epoch)}
    variables = {kind: state[kind] for kind in ("params", "stats")}
    best = keep_best(state["best"], variables, jnp.float32(score), state["epoch"], "later")
    return state | {"best": best[0]}


def write(folder, state: dict, scores: list[float]) -> dict:
    checkpoints = Checkpoints(folder)
    for epoch, score in enumerate(scores, start=1):
        state = after_epoch(state, epoch, score)
        checkpoints.save(state, epoch, now=epoch == len(scores))
    checkpoints.close()
    return state


def steps(folder) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir())


def test_the_two_latest_and_the_best_are_kept(tmp_path, state):
    write(tmp_path, state, [10, 30, 20, 25])
    assert steps(tmp_path / "latest") == [3, 4]
    assert steps(tmp_path / "best") == [2]


def test_a_restored_state_is_the_saved_one_bit_for_bit(tmp_path, state):
    saved = write(tmp_path, state, [10, 30, 20])
    restored = Checkpoints(tmp_path).restore(state)
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)


def test_nothing_to_restore_in_a_new_folder(tmp_path, state):
    assert Checkpoints(tmp_path).restore(state) is None


def test_the_best_model_is_restored_with_its_epoch(tmp_path, state, network):
    write(tmp_path, state, [10, 30, 20])
    best = restore_best(str(tmp_path), no_best(network.shapes(), "segment/type"))
    assert int(best["epoch"]) == 2
    assert all((leaf == 2).all() for leaf in jax.tree.leaves(best["params"]))


def test_saving_does_not_wait_for_buffers_that_training_takes_over(tmp_path, state):
    """The next compiled call may overwrite the state while it is still being written."""
    checkpoints = Checkpoints(tmp_path)
    saved = jax.device_get(state)
    checkpoints.save(state, 1, now=False)
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    overwrite(state)
    checkpoints.close()
    restored = Checkpoints(tmp_path).restore(saved)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)


def test_a_best_model_newer_than_the_state_is_put_back(tmp_path, state, network):
    """Killed after the best model of epoch 3 was written and before its state was."""
    before = write(tmp_path, state, [10, 20])
    after = after_epoch(before, 3, 30.0)
    checkpoints = Checkpoints(tmp_path)
    checkpoints._save_best(after["best"])
    checkpoints.close()
    assert steps(tmp_path / "best") == [3]
    resumed = Checkpoints(tmp_path)
    assert int(resumed.restore(state)["epoch"]) == 2
    resumed.close()
    best = restore_best(str(tmp_path), no_best(network.shapes(), "segment/type"))
    assert int(best["epoch"]) == 2


def test_an_interrupted_write_is_not_taken_for_a_checkpoint(tmp_path, state):
    write(tmp_path, state, [10, 20])
    (tmp_path / "latest" / "3.orbax-checkpoint-tmp").mkdir()
    assert int(Checkpoints(tmp_path).restore(state)["epoch"]) == 2


def test_no_model_yet_and_another_network_are_user_errors(tmp_path, state, network, small_model):
    with pytest.raises(UserError, match="no trained model"):
        restore_best(str(tmp_path), no_best(network.shapes(), "segment/type"))
    write(tmp_path, state, [10])
    other = parser_network((6, 7, 5), small_model | {"layers": 2, "width": 8})
    with pytest.raises(UserError, match="not the configured one"):
        restore_best(str(tmp_path), no_best(other.shapes(), "segment/type"))
    deeper = parser_network((6, 7, 5), small_model | {"layers": 3})
    with pytest.raises(UserError, match="not the configured one"):
        restore_best(str(tmp_path), no_best(deeper.shapes(), "segment/type"))


def test_epochs_that_end_too_soon_are_not_saved_but_the_last_one_is(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, every_seconds=3600.0)
    for epoch, score in enumerate([10.0, 30.0, 20.0], start=1):
        state = after_epoch(state, epoch, score)
        checkpoints.save(state, epoch, now=epoch == 3)
    checkpoints.close()
    assert steps(tmp_path / "latest") == [1, 3]
    assert steps(tmp_path / "best") == [2]
