"""How a command runs from its start among the processes of a run to its exit code."""

import os
import pathlib
import sys
from collections.abc import Callable
from typing import NoReturn

from avvp_jax.errors import UserError
from avvp_jax.runtime import endings, platforms, preemption, processes

USER_ERROR, CRASHED = 2, 1  # preemption.py and endings.py define the other exit codes


def carry_out(
    program: str,
    work: Callable[[], int],
    coordinator: str | None,
    number: int | None,
    index: int | None,
) -> NoReturn:
    """Joins the other processes of the run, does the work, and exits with the others.

    Args:
      program: its name, for messages.
      work: returns the exit code.
      coordinator, number, index: see processes.join.
    """
    keep_programs()
    try:
        processes.join(coordinator, number, index)
        platforms.start()
        code = work()
    except UserError as error:
        stop(program, error)
    except preemption.Preempted as preempted:
        processes.leave(preempted.code, f"{program}: {preempted}")
    except Exception as error:
        if endings.joined():
            endings.end(error, CRASHED)
        raise
    processes.leave(code)


def stop(program: str, error: UserError) -> NoReturn:
    """Ends the process with the message of a user error."""
    if endings.joined():
        endings.end(error, USER_ERROR)
    preemption.settle(USER_ERROR)
    print(f"{program}: {error}", file=sys.stderr)
    sys.exit(USER_ERROR)


def keep_programs() -> None:
    """Lets JAX keep compiled programs for later runs, by default in the user's cache folder."""
    import jax  # here, because it is slow

    if not jax.config.jax_compilation_cache_dir:
        cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(cache) / "avvp_jax"))
