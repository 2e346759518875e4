"""A command that waits at a moment of its work for a signal, so that tests need not be in time.

Run as a program, it is the command that the environment names.
"""

import importlib
import itertools
import os
import pathlib
import runpy
import sys
import time

from avvp_jax.runtime import endings, preemption
from tests.launching import LAUNCH, Forked, start
from tests.programs import PATIENCE

OTHERS = "others"
COMMAND, MOMENT = "AVVP_TESTS_HELD_COMMAND", "AVVP_TESTS_HELD_MOMENT"


def start_held(*arguments: str, moment: str, of: str = "", count: int = 1, program=LAUNCH, **how):
    """A command under way that does not go on from a moment until a signal has come.

    Args:
      moment: one of MOMENTS; or OTHERS, at its end by a mistake, for the others of its run.
      of: the stage.
      count: how often the moment comes before the command waits.
      program: the file of the command.
      how: see `launching.start`.
    """
    extra = how.pop("extra", {}) | {COMMAND: program, MOMENT: f"{moment},{of},{count}"}
    process = start(*arguments, program=__file__, extra=extra, **how)
    assert isinstance(process, Forked)  # it has the path of the tests
    return process


def _is_state(stage: str, source, *_) -> bool:
    """Whether a file that is to be renamed is a state of a stage that is written but for that."""
    path = pathlib.Path(source)
    return path.parts[-3:-1] == (stage, "latest") and path.suffix == ".orbax-checkpoint-tmp"


MOMENTS = {
    "a state that is to be saved": (
        "avvp_jax.training.checkpoints",
        "Checkpoints.save",
        lambda stage, checkpoints, *_: checkpoints.folder.name == stage,
        "after",
    ),
    "a state half written": ("os", "rename", _is_state, "before"),
    "a feature file": ("tfds_llp.extraction", "write_array", lambda *_: True, "after"),
}


def _arm(moment: str, of: str, count: int) -> None:
    """Makes a function wait before or after it does its work."""
    if moment == OTHERS:
        endings.GRACE_SECONDS = PATIENCE
        return
    module, name, counts, when = MOMENTS[moment]
    *way, last = name.split(".")
    place = importlib.import_module(module)
    for each in way:
        place = getattr(place, each)
    call, calls = getattr(place, last), itertools.count(1)

    def call_and_wait(*args, **options):
        here = counts(of, *args) and next(calls) >= count
        if here and when == "before":
            _wait()
        result = call(*args, **options)
        if here and when == "after":
            _wait()
        return result

    setattr(place, last, call_and_wait)


def _wait() -> None:
    end = time.monotonic() + PATIENCE
    while preemption._received is None and time.monotonic() < end:
        time.sleep(0.01)


if __name__ == "__main__":
    moment, of, count = os.environ[MOMENT].split(",")
    _arm(moment, of, int(count))
    sys.argv[0] = os.environ[COMMAND]
    sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
