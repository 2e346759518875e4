"""Checkpoints of a training stage with Orbax: the two latest states and the best model.

  STAGE/latest/STEPS   the whole training state after so many steps, to resume from
  STAGE/best/EPOCH     the best model on val, to evaluate, predict with and export

Both are written in the background and appear whole or not at all. The state includes the best
model, so training can resume from the latest state alone. Checksums are stored beside the
arrays. A damaged checkpoint is renamed to STEPS.damaged, and the one before it is used.
"""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator

import jax
from etils import epath

from avvp_jax.errors import UserError, warn
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import absolute
from avvp_jax.training.checkpoint_files import (
    Damaged,
    ignore_afterthoughts,
    latest_step,
    read,
    read_together,
    reason,
    set_damaged_aside,
    to_save,
    writer,
)
from avvp_jax.training.selection import Best, diverged
from avvp_jax.training.state import State

LATEST_KEPT = 2


class Checkpoints:
    """Writes and restores the checkpoints of one stage; each holds the states of all its seeds.

    As a context manager, it waits at the end until everything is written.

    Args:
      folder: the stage's folder.
      every_seconds: about how long to wait between two saves, because the states of many
        seeds take gigabytes.
    """

    def __init__(self, folder: str | os.PathLike, every_seconds: float = 0.0):
        self.folder = epath.Path(absolute(folder))
        self._every_seconds, self._saved_at, self._asked_at = every_seconds, -math.inf, math.inf
        self._saved, self._saved_best = -1, _mark(None)
        ignore_afterthoughts()
        with self._writing():
            self._latest = writer(self.folder / "latest", LATEST_KEPT)
            self._best = writer(self.folder / "best", 1)

    def save(
        self,
        state: State,
        steps: int,
        *,
        now: bool = False,
        even_stopped: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts to write the state if a save is due, the best model before it if that is new.

        A save is due if the next epoch would end later than `every_seconds` after the last
        save, assuming that it takes as long as the last epoch.

        Args:
          state: of all seeds.
          steps: training steps done so far, which number the checkpoint.
          now: a save is due in any case.
          even_stopped: whether to save if all seeds of the state have diverged. A run of one
            seed does not: it ends there, and can resume from the state before. A run of several
            seeds does, because it goes on without those that diverged.
          before: called before anything is written.

        Raises:
          UserError: this checkpoint or the one before cannot be written.
        """
        began, self._asked_at = self._asked_at, time.monotonic()
        epoch_seconds = max(0.0, self._asked_at - began)
        due = now or self._asked_at + epoch_seconds >= self._saved_at + self._every_seconds
        if not processes.as_the_first(due):
            return
        if steps == self._saved:
            return
        if not even_stopped and bool((state.stopped >= 0).all()):
            return
        before()
        self._saved_at, self._saved = time.monotonic(), steps
        with self._writing():
            if _mark(state.best) != self._saved_best:
                self._save_best(state.best)
                # The best model first, so that a stage with its last state has its best model too.
                self._best.wait_until_finished()
            self._latest.save(steps, args=to_save(as_dicts(state)), force=True)

    def restore(self, template: State) -> State | None:
        """The latest state that is not damaged; None if there is none.

        It also makes the stored best model that of the state. The stored one may be damaged, or
        newer: a run may be killed after writing the best model and before writing the state.

        Args:
          template: a state of the same shapes.

        Raises:
          UserError: the state is of another network, or the folder cannot be written.
        """
        with self._writing():
            state = self._restore_latest(template)
            self._repair_best(state.best if state else None)
        return state

    def _restore_latest(self, template: State) -> State | None:
        there = sorted(self._latest.all_steps(), reverse=True)
        for steps in there:
            path = self.folder / "latest" / str(steps)
            try:
                stored = read_together(path, as_dicts(template))
            except Damaged as damage:
                set_damaged_aside(path, damage)
                self._latest.reload()
            else:
                self._saved = steps
                return from_dicts(template, stored)
        alone = self._best.all_steps()
        for step in alone:
            set_damaged_aside(
                self.folder / "best" / str(step), Damaged("it has no state beside it")
            )
        self._best.reload()
        if there or alone:
            warn(f"{self.folder}: no undamaged state is left; training it again from its start")
        return None

    def _repair_best(self, best: Best | None) -> None:
        """Makes `best` the only stored best model, and undamaged."""
        self._saved_best = _mark(best)
        for step in self._best.all_steps():
            path = self.folder / "best" / str(step)
            try:
                if step != self._saved_best[0] or self._stored_mark(path, best) != self._saved_best:
                    self._best.delete(step)
            except Damaged as damage:
                set_damaged_aside(path, damage)
                self._best.reload()
        if self._saved_best != _mark(None) and not self._best.all_steps():
            self._save_best(best)

    @staticmethod
    def _stored_mark(path: epath.Path, template: Best) -> tuple[int, int]:
        return _mark(from_dicts(template, read_together(path, as_dicts(template))))

    def _save_best(self, best: Best) -> None:
        self._saved_best = step, _ = _mark(best)
        if step in self._best.all_steps():
            self._best.delete(step)
        self._best.save(step, args=to_save(as_dicts(best)), force=True)

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
          UserError: something cannot be written.
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
        """Turns an exception while writing into a UserError of one line."""
        try:
            yield
        except UserError:
            raise
        # Orbax and TensorStore raise many kinds of exception, also late, for an earlier write
        # in a thread.
        except Exception as error:
            raise UserError(
                f"{self.folder}: checkpoints cannot be written ({reason(error)}); the last one "
                "is kept: make room or choose another --workdir, then start the same command again"
            ) from error


def _mark(best: Best | None) -> tuple[int, int]:
    """Identifies best models: the latest epoch of all seeds and parts, and the diverged seeds.

    The epoch of the model that is kept whatever its scores is among them.

    Returns:
      That epoch, which numbers the checkpoint, and how many seeds have diverged.
    """
    if best is None:
        return 0, 0
    fixed = () if best.fixed is None else best.fixed["epoch"]
    epochs = jax.tree.leaves((best.epoch, fixed))
    return max(int(epoch.max()) for epoch in epochs), int(diverged(best).sum())


def as_dicts(tree: object) -> object:
    """Converts dataclasses, also nested ones, to dicts, which Orbax can store, without None."""
    if not dataclasses.is_dataclass(tree):
        return tree
    values = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    return {name: as_dicts(value) for name, value in values.items() if value is not None}


def from_dicts(template: object, stored: object) -> object:
    """The inverse of `as_dicts`; `template` has the dataclasses to make."""
    if not dataclasses.is_dataclass(template):
        return stored
    names = [field.name for field in dataclasses.fields(template) if field.name in stored]
    values = {name: from_dicts(getattr(template, name), stored[name]) for name in names}
    return type(template)(**values)


def restore_best(folder: str, template: Best) -> Best:
    """The best models of all seeds in a stage's folder, on the host.

    Args:
      template: best models of the same shapes (see selection.no_best).

    Raises:
      UserError: there are none, they are damaged, or they belong to another network.
    """
    while True:
        epoch = best_epoch(folder)
        if epoch is None:
            raise UserError(f"{folder}: holds no trained model yet; run --mode=train there first")
        path = epath.Path(absolute(folder)) / "best" / str(epoch)
        try:
            return from_dicts(template, jax.device_get(read(path, as_dicts(template))))
        except Damaged as damage:
            # A running training may have replaced it meanwhile: then read the new one.
            if epoch == best_epoch(folder):
                raise UserError(
                    f"{path}: damaged checkpoint ({damage}); --mode=train in its work directory "
                    "makes it anew"
                ) from damage


def is_finished(folder: str, steps: int, template: Best) -> bool:
    """Whether a stage's folder holds the state after `steps`, its last, and intact best models."""
    if latest_step(epath.Path(absolute(folder)) / "latest") != steps:
        return False
    try:
        restore_best(folder, template)
    except UserError:
        return False
    return True


def has_state(folder: str) -> bool:
    """Whether a stage's folder holds a state to resume from."""
    return latest_step(epath.Path(absolute(folder)) / "latest") is not None


def best_epoch(folder: str) -> int | None:
    """The epoch that numbers the best model in a stage's folder; None if there is none."""
    return latest_step(epath.Path(absolute(folder)) / "best")
