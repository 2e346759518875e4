"""Checkpoints of a training stage with Orbax: the two latest states and the best model.

  STAGE/latest/EPOCH   the whole training state, to go on from
  STAGE/best/EPOCH     the best model on val, to evaluate, predict with and export

Both are written in the background and appear whole or not at all. The state
holds the best model too, so the latest state alone is enough to go on from.
"""

import math
import time
from functools import partial

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from avvp_jax.errors import UserError
from avvp_jax.selection import Best

LATEST_KEPT = 2
ITEM = "tree"


class Checkpoints:
    """Writes and restores the checkpoints of one stage, states of all its seeds in one.

    Args:
      folder: the stage's.
      every_seconds: epochs that end sooner after the last save are not saved, because
        states of many seeds are gigabytes.
    """

    def __init__(self, folder: str, every_seconds: float = 0.0):
        self.folder = epath.Path(folder)
        self._every_seconds, self._saved_at, self._saved_best = every_seconds, -math.inf, 0
        self._latest = _writer(self.folder / "latest", LATEST_KEPT)
        self._best = _writer(self.folder / "best", 1)

    def save(self, state: dict, epoch: int, *, last: bool) -> None:
        """Starts writing the state after `epoch` if it is time or the last one.

        Its best model is written first, if that is new.
        """
        if not last and time.monotonic() - self._saved_at < self._every_seconds:
            return
        self._saved_at = time.monotonic()
        if _step(state["best"]) != self._saved_best:
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
        self._saved_best = _step(state["best"])
        if self._best.all_steps() != [self._saved_best]:
            for step in self._best.all_steps():
                self._best.delete(step)
            self._save_best(state["best"])
        return state

    def _save_best(self, best: dict) -> None:
        self._saved_best = _step(best)
        self._best.save(self._saved_best, args=_to_save(best), force=True)

    def close(self) -> None:
        """Waits until everything is written."""
        self._latest.close()
        self._best.close()


def _step(best: dict) -> int:
    """The number of a best model: the latest epoch of its seeds and parts."""
    return max(int(epoch.max()) for epoch in jax.tree.leaves(best["epoch"]))


def restore_best(folder: str, template: Best) -> Best:
    """The best models of a stage's folder, of all its seeds.

    `template` is one of the same shapes, see selection.no_best.

    Raises:
      UserError: there is none, it is damaged, or it belongs to another network.
    """
    best = epath.Path(folder).resolve() / "best"
    epoch = _latest_step(best)
    if epoch is None:
        raise UserError(f"{folder}: holds no trained model yet; run --mode=train there first")
    with _reader(best) as manager:
        return _restore(manager, best / str(epoch), epoch, template)


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
