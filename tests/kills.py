"""Work directories as a kill leaves them, made in this process.

What a work directory holds at some moment is what a kill at that moment leaves. Processes that are
really killed are in test_launch.py, test_processes.py and chaos.py.
"""

import pathlib
import shutil
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from avvp_jax.modes import run
from avvp_jax.training.checkpoints import Checkpoints


class Killed(BaseException):
    """Ends a run, which is then lost; only the copy of its work directory counts."""


def run_and_kill(
    config: ConfigDict, workdir: pathlib.Path, left: pathlib.Path, where: Callable
) -> None:
    """Runs in `workdir` up to a moment; `left` becomes what a kill leaves then.

    Args:
      where: (patch, kill) -> None, patches what is to call `kill` at that moment.
    """

    def kill(*_, **__) -> None:
        shutil.copytree(workdir, left)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        where(patch, kill)
        run(config, str(workdir), "train")
    assert not (left / "scores_test.json").exists()


def when_saved(stage: str, steps: int) -> Callable:
    """The moment at which a stage has a whole checkpoint of so many steps; see run_and_kill."""

    def where(patch: pytest.MonkeyPatch, kill: Callable) -> None:
        save = Checkpoints.save

        def save_and_kill(self, state, done, **options):
            save(self, state, done, **options)
            if (self.folder.name, done) == (stage, steps):
                self._latest.wait_until_finished()
                kill()

        patch.setattr(Checkpoints, "save", save_and_kill)

    return where


def instead_of(function: str) -> Callable:
    """The moment at which a function is called, before it does anything; see run_and_kill."""
    return lambda patch, kill: patch.setattr(function, kill)
