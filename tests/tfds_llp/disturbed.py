"""A command with a small R(2+1)D, in a process that may be killed at a moment; see `begin`.

Run as a program, it is the command that the environment names.
"""

import importlib
import itertools
import os
import pathlib
import runpy
import signal
import sys
from collections.abc import Callable

from avvp_jax.encoders.published import Encoder
from avvp_jax.encoders.r2plus1d import R2Plus1D
from avvp_jax.nn.functional import make_network
from tests.launching import start

COMMAND, MOMENT = "AVVP_TESTS_COMMAND", "AVVP_TESTS_MOMENT"
BLOCKS = (1, 1, 1, 1)  # of R(2+1)D; features are as wide as published


def begin(command: str, *flags: str, killed: str = ""):
    """A command under way.

    Args:
      command: its file.
      killed: by SIGKILL after this, one of MOMENTS; empty is never.
    """
    return start(*flags, program=__file__, extra={COMMAND: command, MOMENT: killed})


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(module: str, name: str, finish: Callable = lambda *_: None) -> Callable[[], None]:
    """Kills this process after a function was called for the first time, and `finish` with it."""

    def arm() -> None:
        *way, last = name.split(".")
        place = importlib.import_module(module)
        for each in way:
            place = getattr(place, each)
        call = getattr(place, last)

        def call_and_die(*args, **options) -> None:
            call(*args, **options)
            finish(*args)
            _kill()

        setattr(place, last, call_and_die)

    return arm


def _amid_examples() -> None:
    """Kills this process once two examples of a split are written."""
    from tfds_llp.llp import Llp

    examples = Llp._examples

    def some(*args):
        yield from itertools.islice(examples(*args), 2)
        _kill()

    Llp._examples = some


MOMENTS = {
    "a feature file": _after("tfds_llp.extraction", "write_array"),
    "a file of labels": _after("tfds_llp.extract_labels", "write_array"),
    "two prepared examples": _amid_examples,
    "an epoch": _after(
        "avvp_jax.training.checkpoints",
        "Checkpoints.save",
        lambda checkpoints, *_: checkpoints._latest.wait_until_finished(),
    ),
    "a parsed video": _after("avvp_jax.modes.parse", "_write"),
}


def _small(self: Encoder, dtype: str = "float32", precision: str = "highest"):
    return make_network(R2Plus1D, BLOCKS, dtype=dtype, precision=precision)


if __name__ == "__main__":
    Encoder.network = _small
    if moment := os.environ[MOMENT]:
        MOMENTS[moment]()
    sys.argv[0] = os.environ[COMMAND]
    sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
