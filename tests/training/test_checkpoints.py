"""Checkpoints: what is kept, what is restored, and in which order a run may be killed."""

import errno
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.nn.functional import make_network
from avvp_jax.training.checkpoint_files import reason
from avvp_jax.training.checkpoints import Checkpoints, restore_best
from avvp_jax.training.optimizer import make_optimizer
from avvp_jax.training.selection import keep_best, no_best
from avvp_jax.training.state import State
from tests.first_states import begin

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})


class Layers(nnx.Module):
    """A network of few arrays: what is in a checkpoint is not the point."""

    def __init__(self, width: int, layers: int, rngs: nnx.Rngs):
        self.all = nnx.List([nnx.Linear(64, width, rngs=rngs) for _ in range(layers)])


@pytest.fixture
def network():
    return make_network(Layers, width=64, layers=1)


@pytest.fixture
def state(network):
    return begin(make_optimizer(ADAM), network.init(jax.random.key(0)))


def after_epoch(state: State, epoch: int, score: float) -> State:
    """The state as an epoch leaves it, its weights recognisable by the epoch."""
    params = jax.tree.map(lambda x: jnp.full_like(x, epoch), state.params)
    state = replace(state, params=params, epoch=jnp.int32(epoch))
    best = keep_best(state.best, state.variables, jnp.float32(score), state.epoch, "later")
    return replace(state, best=best)


def write(folder, state: State, scores: list[float]) -> State:
    checkpoints = Checkpoints(folder)
    for epoch, score in enumerate(scores, start=1):
        state = after_epoch(state, epoch, score)
        checkpoints.save(state, epoch, now=epoch == len(scores))
    checkpoints.close()
    return state


def steps(folder) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def assert_identical(one, two) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, two)


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
    assert int(best.epoch) == 2
    assert all((leaf == 2).all() for leaf in jax.tree.leaves(best.params))


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
    checkpoints._save_best(after.best)
    checkpoints.close()
    assert steps(tmp_path / "best") == [3]
    resumed = Checkpoints(tmp_path)
    assert int(resumed.restore(state).epoch) == 2
    resumed.close()
    best = restore_best(str(tmp_path), no_best(network.shapes(), "segment/type"))
    assert int(best.epoch) == 2


def test_an_interrupted_write_is_not_taken_for_a_checkpoint(tmp_path, state):
    write(tmp_path, state, [10, 20])
    (tmp_path / "latest" / "3.orbax-checkpoint-tmp").mkdir()
    assert int(Checkpoints(tmp_path).restore(state).epoch) == 2


def test_no_model_yet_and_another_network_are_user_errors(tmp_path, state, network):
    with pytest.raises(UserError, match="no trained model"):
        restore_best(str(tmp_path), no_best(network.shapes(), "segment/type"))
    write(tmp_path, state, [10])
    other = make_network(Layers, width=8, layers=1)
    with pytest.raises(UserError, match="not the configured one"):
        restore_best(str(tmp_path), no_best(other.shapes(), "segment/type"))
    deeper = make_network(Layers, width=64, layers=2)
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


def test_the_next_epoch_would_end_too_late(tmp_path, state, monkeypatch):
    """With epochs of 25 seconds one is saved at 25, 75 and 125 seconds: not after 60 or more."""
    clock = {"seconds": 0}
    time = SimpleNamespace(monotonic=lambda: clock["seconds"])  # Orbax goes on with its own
    monkeypatch.setattr("avvp_jax.training.checkpoints.time", time)
    checkpoints, saved = Checkpoints(tmp_path, every_seconds=60.0), []
    monkeypatch.setattr(checkpoints._latest, "save", lambda steps, **_: saved.append(steps))
    for epoch in range(1, 8):
        clock["seconds"] += 25
        checkpoints.save(state, epoch)
    assert saved == [1, 3, 5, 7]


def test_a_state_that_has_stopped_is_not_saved(tmp_path, state):
    """Nor one that was saved before."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, 1)
        checkpoints.save(state, 1, now=True)
        checkpoints.save(replace(state, stopped=jnp.array([3, 7])), 2, now=True)
        checkpoints.save(replace(state, stopped=jnp.array([3, -1])), 3)
    assert steps(tmp_path / "latest") == [1, 3]


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


DAMAGE = {
    "flipped byte in the middle": lambda content: flip(content, len(content) // 2),
    "flipped byte at the end": lambda content: flip(content, len(content) - 1),
    "torn": lambda content: content[: len(content) // 2],
    "missing": lambda content: None,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_whatever_file_is_damaged_no_other_state_is_restored(tmp_path, state, capfd, kind):
    """Each file of the latest state in turn: the state is restored, or the one before it."""
    original, set_aside = tmp_path / "original", 0
    last = write(original, state, [10, 30, 20])
    before = Checkpoints(shutil.copytree(original, tmp_path / "2", ignore=_third)).restore(state)
    for number, file in enumerate(files(original / "latest/3")):
        folder = shutil.copytree(original, tmp_path / f"copy{number}")
        damage(folder / file.relative_to(original), kind)
        with Checkpoints(folder) as checkpoints:
            restored = checkpoints.restore(state)
        warnings = capfd.readouterr().err.splitlines()
        if aside := (folder / "latest/3.damaged").exists():
            assert_identical(restored, before)
            assert len(warnings) == 1
            assert warnings[0].startswith(f"warning: {folder}/latest/3: damaged checkpoint (")
        else:
            assert_identical(restored, last)
            assert not warnings
        set_aside += aside
    assert set_aside >= 4  # arrays, what describes them, checksums


def _third(_, names) -> list[str]:
    return [name for name in names if name == "3"]


def files(checkpoint) -> list:
    """Its files, but for the markers that Orbax does not read."""
    found = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    return [path for path in found if path.name not in ("commit_success.txt", "_sharding")]


def damage(path, kind: str) -> None:
    content = DAMAGE[kind](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_best_model_is_refused_and_mended_from_the_state(tmp_path, state, network, kind):
    template = no_best(network.shapes(), "segment/type")
    last = write(tmp_path, state, [10, 30, 20])
    # Orbax keeps arrays in the file with the largest size.
    arrays = max(files(tmp_path / "best/2"), key=lambda path: path.stat().st_size)
    damage(arrays, kind)
    with pytest.raises(UserError, match="best/2: damaged checkpoint .*--mode=train in its work"):
        restore_best(str(tmp_path), template)
    assert steps(tmp_path / "best") == [2]
    with Checkpoints(tmp_path) as checkpoints:
        assert_identical(checkpoints.restore(state), last)
    assert (tmp_path / "best/2.damaged").exists()
    assert_identical(restore_best(str(tmp_path), template), last.best)


def test_without_an_undamaged_state_a_training_begins_anew(tmp_path, state, capsys):
    write(tmp_path, state, [10, 30])
    for checkpoint in (tmp_path / "latest").iterdir():
        (checkpoint / "checksums/metadata").write_text("{}")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state) is None
    assert "no undamaged state is left" in capsys.readouterr().err
    assert not steps(tmp_path / "latest") and not steps(tmp_path / "best")
    assert (tmp_path / "best/2.damaged").exists()
    write(tmp_path, state, [10, 30])
    assert steps(tmp_path / "latest") == [1, 2]


@pytest.mark.parametrize(
    "lack",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        ValueError("[os_error_code='ENOMEM'] Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
)
def test_what_the_machine_lacks_is_no_damage(tmp_path, state, monkeypatch, lack):
    saved = write(tmp_path, state, [10, 30])

    def fail(*_):
        raise Exception("as Orbax says it") from lack

    with monkeypatch.context() as lacking:
        lacking.setattr("avvp_jax.training.checkpoint_files._reader_of_arrays", fail)
        with pytest.raises(UserError, match="cannot be read now .* nothing was changed"):
            Checkpoints(tmp_path).restore(state)
    assert_identical(Checkpoints(tmp_path).restore(state), saved)


def test_a_best_model_without_a_state_is_set_aside(tmp_path, state, capsys):
    write(tmp_path, state, [10, 30])
    shutil.rmtree(tmp_path / "latest")
    assert Checkpoints(tmp_path).restore(state) is None
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["2.damaged"]
    assert "it has no state beside it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EFBIG, "File too large"),
        ValueError("Error writing file: File too large [os_error_code='27'] [source: x.cc:1]"),
    ],
    ids=["Python's", "TensorStore's"],
)
def test_the_system_is_quoted_without_its_numbers(error):
    assert reason(error) == "File too large"
