"""Checkpoints of a training stage with Orbax: the two latest states and the best model.

  STAGE/latest/EPOCH   the whole training state, to go on from
  STAGE/best/EPOCH     the best model on val, to evaluate, predict with and export

Both are written in the background and appear whole or not at all. The state
holds the best model too, so the latest state alone is enough to go on from.
"""

from functools import partial

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from avvp_jax.errors import UserError
from avvp_jax.network import Variables
from avvp_jax.selection import Best

LATEST_KEPT = 2
ITEM = "tree"


class Checkpoints:
    """Writes and restores the checkpoints of one stage."""

    def __init__(self, folder: str):
        self.folder = epath.Path(folder)
        self._latest = _writer(self.folder / "latest", LATEST_KEPT)
        self._best = _writer(self.folder / "best", 1)

    def save(self, state: dict, epoch: int, *, improved: bool) -> None:
        """Starts writing the state after `epoch`; writes its best model first if that is new."""
        if improved:
            self._save_best(state["best"])
            # In this order, so that a stage whose last state is there has its best model too.
            self._best.wait_until_finished()
        self._latest.save(epoch, args=_to_save(state), force=True)

    def restore(self, template: dict) -> dict | None:
        """The latest state, or None if there is none yet.

        `template` is a state of the same shapes. A best model that is newer than
        the state (the run was killed between the two) is put back.

        Raises:
          UserError: the state is damaged or of another network.
        """
        epoch = self._latest.latest_step()
        if epoch is None:
            return None
        state = _restore(self._latest, self.folder / "latest" / str(epoch), epoch, template)
        if self._best.all_steps() != [_step(state["best"])]:
            for step in self._best.all_steps():
                self._best.delete(step)
            self._save_best(state["best"])
        return state

    def _save_best(self, best: dict) -> None:
        self._best.save(_step(best), args=_to_save(best), force=True)

    def close(self) -> None:
        """Waits until everything is written."""
        self._latest.close()
        self._best.close()


def _step(best: dict) -> int:
    """The number of a best model: the latest epoch of its parts."""
    return max(int(epoch) for epoch in jax.tree.leaves(best["epoch"]))


def restore_best(folder: str, template: Best) -> tuple[Variables, int | dict[str, int]]:
    """The best model of a stage's folder, and its epoch (by part, where they were selected apart).

    `template` is one of the same shapes, see selection.no_best.

    Raises:
      UserError: there is none, it is damaged, or it belongs to another network.
    """
    best = epath.Path(folder).resolve() / "best"
    epoch = _latest_step(best)
    if epoch is None:
        raise UserError(f"{folder}: holds no trained model yet; run --mode=train there first")
    with _reader(best) as manager:
        restored = _restore(manager, best / str(epoch), epoch, template)
    epochs = jax.tree.map(int, restored["epoch"])
    return {"params": restored["params"], "stats": restored["stats"]}, epochs


def latest_epoch(folder: str) -> int | None:
    """The epoch of the latest state in a stage's folder; None without one. Changes nothing."""
    return _latest_step(epath.Path(folder).resolve() / "latest")


def best_epoch(folder: str) -> int | None:
    """The epoch of the best model in a stage's folder; None without one. Changes nothing."""
    return _latest_step(epath.Path(folder).resolve() / "best")


def _restore(manager: ocp.CheckpointManager, where: epath.Path, epoch: int, template: dict) -> dict:
    try:
        stored = ocp.StandardCheckpointer().metadata(where.resolve() / ITEM).item_metadata.tree
        fits = _shapes(stored) == _shapes(template)
        restored = manager.restore(epoch, args=_to_restore(template))[ITEM] if fits else None
    # Orbax and TensorStore raise every sort of exception, plain Exception among them.
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        # The latest state holds the best model too.
        way_out = "to use an earlier one" if where.parent.name == "latest" else "and train again"
        raise UserError(
            f"{where}: damaged checkpoint ({reason}); delete this folder {way_out}"
        ) from error
    if not fits:
        raise UserError(
            f"{where}: its network is not the configured one; leave config.model and "
            "config.data.streams as they were in training"
        )
    return restored


def _latest_step(folder: epath.Path) -> int | None:
    if not folder.exists():
        return None
    with _reader(folder) as manager:
        return manager.latest_step()


def _writer(folder: epath.Path, kept: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=kept, enable_async_checkpointing=True, cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _reader(folder: epath.Path) -> ocp.CheckpointManager:
    # It must not clean up: what looks abandoned is perhaps being written by a training.
    options = ocp.CheckpointManagerOptions(read_only=True, create=False, save_interval_steps=0)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _to_save(tree: dict) -> ocp.args.Composite:
    # Copied, because the next compiled call takes over the buffers while Orbax still writes.
    return ocp.args.Composite(**{ITEM: ocp.args.StandardSave(jax.tree.map(jnp.copy, tree))})


def _to_restore(template: dict) -> ocp.args.Composite:
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
    return ocp.args.Composite(**{ITEM: ocp.args.StandardRestore(shapes)})


def _shapes(tree: dict) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): tuple(leaf.shape) for path, leaf in leaves}
