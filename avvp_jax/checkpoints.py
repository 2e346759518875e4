"""Checkpoints of a training stage with Orbax: the two latest states and the best model.

  STAGE/latest/STEPS   the whole training state after so many steps, to go on from
  STAGE/best/EPOCH     the best model on val, to evaluate, predict with and export

Both are written in the background and appear whole or not at all. The state
holds the best model too, so the latest state alone is enough to go on from.
Each has checksums of its arrays beside them. What is damaged is set aside, as
STEPS.damaged, and the one before it used.
"""

import contextlib
import functools
import math
import re
import sys
import time
import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from avvp_jax import processes
from avvp_jax.checksums import checksums, named_leaves, seal, unseal
from avvp_jax.errors import UserError, cause, passes, unreadable_now, warn
from avvp_jax.mesh import host_device
from avvp_jax.outputs import absolute, set_aside
from avvp_jax.selection import Best, diverged

LATEST_KEPT = 2
ITEM, CHECKSUMS = "tree", "checksums"


class Damaged(Exception):
    """A checkpoint that cannot be read, or holds other arrays than were written; says why."""


class Checkpoints:
    """Writes and restores the checkpoints of one stage, states of all its seeds in one.

    Leaving it as a context waits until everything is written.

    Args:
      folder: the stage's.
      every_seconds: epochs that end sooner after the last save are not saved, because
        states of many seeds are gigabytes.
    """

    def __init__(self, folder: str, every_seconds: float = 0.0):
        self.folder = epath.Path(absolute(folder))
        self._every_seconds, self._saved_at, self._asked_at = every_seconds, -math.inf, math.inf
        self._saved, self._saved_best = -1, _mark(None)
        _ignore_afterthoughts()
        with self._writing():
            self._latest = _writer(self.folder / "latest", LATEST_KEPT)
            self._best = _writer(self.folder / "best", 1)

    def save(
        self, state: dict, steps: int, *, now: bool = False, even_stopped: bool = False
    ) -> None:
        """Starts writing the state after `steps` training steps if it is time, or `now`.

        It is time if the next epoch, as long as the last one, would end later than
        `every_seconds` after the last save. The best model is written first, if that is new.
        A training that has stopped goes on, if at all, from the state before: nothing is
        written, unless it is `even_stopped`, as where other seeds have other checkpoints.

        Raises:
          UserError: it cannot be written, or the one before could not.
        """
        began, self._asked_at = self._asked_at, time.monotonic()
        epoch_seconds = max(0.0, self._asked_at - began)
        due = now or self._asked_at + epoch_seconds >= self._saved_at + self._every_seconds
        if not processes.as_the_first(due):
            return
        if steps == self._saved:
            return
        if not even_stopped and bool((state["stopped"] >= 0).all()):
            return
        self._saved_at, self._saved = time.monotonic(), steps
        with self._writing():
            if _mark(state["best"]) != self._saved_best:
                self._save_best(state["best"])
                # In this order, so that a stage whose last state is there has its best model too.
                self._best.wait_until_finished()
            self._latest.save(steps, args=_to_save(state), force=True)

    def restore(self, template: dict) -> dict | None:
        """The latest state that is not damaged, or None if there is none.

        `template` has the same shapes. The best model is put in line with the state: it
        may be damaged, or newer (the run was killed between the two).

        Raises:
          UserError: the state is of another network, or the folder cannot be written.
        """
        with self._writing():
            state = self._restore_latest(template)
            self._mend_best(state["best"] if state else None)
        return state

    def _restore_latest(self, template: dict) -> dict | None:
        there = sorted(self._latest.all_steps(), reverse=True)
        for steps in there:
            path = self.folder / "latest" / str(steps)
            try:
                state = _read_together(path, template)
            except Damaged as damage:
                _set_aside(path, damage)
                self._latest.reload()
            else:
                self._saved = steps
                return state
        alone = self._best.all_steps()
        for step in alone:
            _set_aside(self.folder / "best" / str(step), Damaged("it has no state beside it"))
        self._best.reload()
        if there or alone:
            warn(f"{self.folder}: no undamaged state is left; training it again from its start")
        return None

    def _mend_best(self, best: dict | None) -> None:
        """Leaves the best model of the state, undamaged, and no other."""
        self._saved_best = _mark(best)
        for step in self._best.all_steps():
            path = self.folder / "best" / str(step)
            try:
                if (
                    step != self._saved_best[0]
                    or _mark(_read_together(path, best)) != self._saved_best
                ):
                    self._best.delete(step)
            except Damaged as damage:
                _set_aside(path, damage)
                self._best.reload()
        if self._saved_best != _mark(None) and not self._best.all_steps():
            self._save_best(best)

    def _save_best(self, best: dict) -> None:
        self._saved_best = step, _ = _mark(best)
        if step in self._best.all_steps():
            self._best.delete(step)
        self._best.save(step, args=_to_save(best), force=True)

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
          UserError: it cannot be.
        """
        with self._writing():
            self._latest.close()
            self._best.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Says in one line what keeps a checkpoint from being written."""
        try:
            yield
        except UserError:
            raise
        # Orbax and TensorStore raise every sort of exception, also for what a thread met before.
        except Exception as error:
            raise UserError(
                f"{self.folder}: checkpoints cannot be written ({_reason(error)}); the last one "
                "is kept: make room or choose another --workdir, then start the same command again"
            ) from error


def _mark(best: Best | None) -> tuple[int, int]:
    """What tells one best model from the next: the latest epoch of its seeds and parts, which is
    its number, and how many seeds have diverged."""
    if best is None:
        return 0, 0
    epochs = jax.tree.leaves(best["epoch"])
    return max(int(epoch.max()) for epoch in epochs), int(diverged(best).sum())


def restore_best(folder: str, template: Best) -> Best:
    """The best models of a stage's folder, of all its seeds, on the host.

    `template` is one of the same shapes, see selection.no_best.

    Raises:
      UserError: there is none, it is damaged, or it belongs to another network.
    """
    while True:
        epoch = best_epoch(folder)
        if epoch is None:
            raise UserError(f"{folder}: holds no trained model yet; run --mode=train there first")
        path = epath.Path(absolute(folder)) / "best" / str(epoch)
        try:
            return jax.device_get(_read(path, template))
        except Damaged as damage:
            # A training that is under way may have exchanged it.
            if epoch == best_epoch(folder):
                raise UserError(
                    f"{path}: damaged checkpoint ({damage}); --mode=train in its work directory "
                    "makes it anew"
                ) from damage


def is_finished(folder: str, steps: int, template: Best) -> bool:
    """Whether a stage's folder holds the state after its last step, and undamaged best models."""
    if _latest_step(epath.Path(absolute(folder)) / "latest") != steps:
        return False
    try:
        restore_best(folder, template)
    except UserError:
        return False
    return True


def best_epoch(folder: str) -> int | None:
    """The epoch of the best model in a stage's folder; None without one. Changes nothing."""
    return _latest_step(epath.Path(absolute(folder)) / "best")


def _read_together(path: epath.Path, template: dict) -> dict:
    """What `_read` gives, in all processes or in none: the first one looks at it before."""
    damage = None
    if processes.several() and processes.first():
        try:
            _read(path, _without_places(template))
        except Damaged as found:
            damage = found
    if processes.as_the_first(damage is not None):
        raise damage or Damaged("as the first process says")
    return _read(path, template)


def _read(path: epath.Path, template: dict) -> dict:
    """The tree of a checkpoint, known to be what was written.

    All processes together put it where the template lies; if that says nothing of it, each
    process by itself puts it on its host.

    Raises:
      Damaged: it is not.
      UserError: it is, but of another network.
    """
    _ignore_afterthoughts()
    try:
        if not (path / CHECKSUMS).exists():
            raise FileNotFoundError("it has no checksums")
        record = ocp.Checkpointer(
            ocp.JsonCheckpointHandler(), multiprocessing_options=_alone()
        ).restore(path / CHECKSUMS)
        written = unseal(record)
        fits = {name: shape for name, (shape, *_) in written.items()} == _shapes(template)
        if fits:
            tree = _reader_of_arrays(template).restore(path / ITEM, _with_places(template))
            intact = checksums(tree) == written
    # Orbax and TensorStore raise every sort of exception, plain Exception among them.
    except Exception as error:
        if passes(error):
            raise unreadable_now(path, error) from error
        raise Damaged(_reason(error)) from error
    if not fits:
        raise UserError(
            f"{path}: its network is not the configured one; leave config.model and "
            "config.data.streams as they were in training"
        )
    if not intact:
        raise Damaged("its arrays are not those that were written")
    return tree


def _set_aside(path: epath.Path, damage: Damaged) -> None:
    if processes.first():
        warn(f"{path}: damaged checkpoint ({damage}); set aside as {set_aside(path)}")
    processes.meet()


def _reason(error: Exception) -> str:
    """What an exception of Orbax or TensorStore says, shortly."""
    text = " ".join(str(error).split())
    by_system = re.search(r"([^:]*) \[os_error_code", text)
    return by_system[1].strip() if by_system else text[:160] or type(error).__name__


@functools.cache
def _ignore_afterthoughts() -> None:
    """Keeps what Orbax gave up, when something else failed, from complaining on stderr.

    For good, because it may do so at any time, in threads of TensorStore.
    """
    complain, complain_unraisable = sys.excepthook, sys.unraisablehook
    gave_up = ("Event loop is closed", "Encountered error while")

    def hook(kind, error, trace) -> None:
        if not str(error).startswith(gave_up):
            complain(kind, error, trace)

    def unraisable_hook(unraisable) -> None:
        if not str(unraisable.exc_value).startswith(gave_up):
            complain_unraisable(unraisable)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def _latest_step(folder: epath.Path) -> int | None:
    if not folder.exists():
        return None
    try:
        with _reader(folder) as manager:
            return manager.latest_step()
    # As in _read.
    except Exception as error:
        if passes(error):
            raise unreadable_now(folder, error) from error
        raise UserError(
            f"{folder}: damaged checkpoints ({cause(error)}); delete this folder and train again"
        ) from error


def _writer(folder: epath.Path, kept: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=kept,
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
        # Processes meet under names that another manager must not use at the same time.
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            barrier_sync_key_prefix=folder.name
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _reader(folder: epath.Path) -> ocp.CheckpointManager:
    # It must not clean up: what looks abandoned is perhaps being written by a training.
    options = ocp.CheckpointManagerOptions(
        read_only=True, create=False, save_interval_steps=0, multiprocessing_options=_alone()
    )
    return ocp.CheckpointManager(folder, options=options)


def _to_save(tree: dict) -> ocp.args.Composite:
    # Copied, because the next compiled call takes over the buffers while Orbax still writes.
    items = {
        ITEM: ocp.args.StandardSave(jax.tree.map(jnp.copy, tree)),
        CHECKSUMS: ocp.args.JsonSave(seal(checksums(tree))),
    }
    return ocp.args.Composite(**items)


def _alone() -> ocp.options.MultiprocessingOptions:
    """For reading in this process whatever the others do."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"alone-{index}"
    )


def _places(template: dict) -> list[jax.sharding.Sharding]:
    """Where leaves of a template lie, as far as they say so."""
    found = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(template)]
    return [place for place in found if place is not None]


def _reader_of_arrays(template: dict) -> ocp.StandardCheckpointer:
    """Reads with the others what lies somewhere, and what lies nowhere alone."""
    if _places(template):
        return ocp.StandardCheckpointer()
    return ocp.StandardCheckpointer(multiprocessing_options=_alone())


def _with_places(template: dict) -> dict:
    """What to restore where: at a leaf's own place, or on the host."""
    host = None if _places(template) else jax.sharding.SingleDeviceSharding(host_device())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=host or x.sharding), template
    )


def _without_places(template: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), template)


def _shapes(tree: dict) -> dict[str, list[int]]:
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}
