"""The processes of one run: how they find one another, agree, and leave.

Every process runs the same program on its own devices; JAX's coordination service, which the
first one hosts, holds them together. The first alone prints, and writes results.
"""

import contextlib
import itertools
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from avvp_jax.errors import UserError
from avvp_jax.runtime import preemption
from avvp_jax.runtime.endings import (
    ABORTED,
    JOINING_SECONDS,
    end,
    found_others,
    joined,
    take_over,
)

# A process that says nothing for so long is lost. One that ends is missed sooner.
HEARTBEAT_SECONDS = 20
# Processes wait so long for one another at a meeting: the first may be preparing data.
PATIENCE_SECONDS = 24 * 3600

_meetings = itertools.count()


def join(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Joins the other processes of a run, if there are any. Comes before other calls to JAX.

    Args:
      coordinator: HOST:PORT of the first process; None looks for a cluster that JAX knows: a
        TPU pod slice, Slurm, Open MPI, or an indexed job of Kubernetes.
      number, index: of the processes, and which of them this one is.

    Raises:
      UserError: the three do not go together, or the processes do not find one another.
    """
    _check(coordinator, number, index)
    import jax  # here, because it takes a while that mistakes should not

    if number == 1:
        return
    # SIGTERM is preemption.py's.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {"coordinator_address": coordinator, "num_processes": number, "process_id": index}
    if coordinator:
        options["cluster_detection_method"] = "deactivate"
        if index == 0:
            _refuse_taken(coordinator)
        take_over(index)
    try:
        with _indexed_pods_only(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.distributed.initialize(
                **options,
                initialization_timeout=JOINING_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=PATIENCE_SECONDS,
            )
    except Exception as error:
        if not coordinator and "coordinator_address should be defined" in str(error):
            return  # one machine
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"the processes of this run do not find one another ({reason}); start each with the "
            "same --coordinator=HOST:PORT, the first one on that host"
        ) from error
    found_others()
    if _alone_on_host():
        # JAX takes every task of Slurm and Open MPI for one of several on a host, with a GPU each.
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, os.environ.get(name.upper(), "all"))
    if several() and not joined():
        take_over(jax.process_index())


def _check(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Refuses flags that do not go together."""
    given = [value is not None for value in (coordinator, number, index)]
    if any(given) and not all(given):
        raise UserError(
            "--coordinator=HOST:PORT, --num_processes=N and --process_id=0..N-1 go together; in a "
            "cluster that JAX knows leave out all three"
        )
    if not any(given):
        return
    port = re.fullmatch(r"[^\s:]+:(\d{1,5})|\[[0-9a-fA-F:]+\]:(\d{1,5})", coordinator)
    if not port or not 0 < int(port[1] or port[2]) < 2**16:
        raise UserError(f"--coordinator={coordinator}: must be HOST:PORT of the first process")
    if number < 1:
        raise UserError(f"--num_processes={number} must be greater than 0")
    if not 0 <= index < number:
        raise UserError(f"--process_id={index} must be 0 to {number - 1}, as --num_processes says")


def _alone_on_host() -> bool:
    """Whether a cluster has started one process here, which then has all devices."""
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    tasks = tasks or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "")
    return re.fullmatch(r"1(\(x\d+\))?", tasks) is not None


def _refuse_taken(coordinator: str) -> None:
    """Refuses a port of this host that something listens on: JAX would end without a word."""
    port = int(coordinator.rpartition(":")[2])
    with socket.socket() as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind(("", port))
        except OSError as error:
            raise UserError(
                f"--coordinator={coordinator}: port {port} cannot be used here "
                f"({error.strerror}); choose another, the same in every process"
            ) from None


@contextlib.contextmanager
def _indexed_pods_only() -> Iterator[None]:
    """Hides Kubernetes from JAX, which takes every pod for a member of an indexed job."""
    name = "KUBERNETES_SERVICE_HOST"
    hidden = None if "JOB_COMPLETION_INDEX" in os.environ else os.environ.pop(name, None)
    try:
        yield
    finally:
        if hidden is not None:
            os.environ[name] = hidden


def several() -> bool:
    """Whether the run has more than this process."""
    import jax

    return jax.process_count() > 1


def first() -> bool:
    """Whether this process is the one that prints, and writes results."""
    import jax

    return jax.process_index() == 0


def meet() -> None:
    """Waits until every process is here, however long the first one takes."""
    if several():
        import jax
        import orbax.checkpoint as ocp

        everybody = set(range(jax.process_count()))
        name = f"meeting-{next(_meetings)}"
        ocp.multihost.sync_global_processes(name, timeout=PATIENCE_SECONDS, processes=everybody)


def as_the_first(value: int | list[int]) -> int | list[int]:
    """The first process's value, in all of them: what they do next has to be the same."""
    if not several():
        return value
    return gathered(np.asarray(value, np.int32))[0].tolist()


def gathered(value: np.ndarray) -> np.ndarray:
    """Every process's value, [processes, ...], in all of them; they have the same shape."""
    from jax.experimental.multihost_utils import process_allgather

    meet()
    return process_allgather(value)


def leave(code: int, message: str = "") -> NoReturn:
    """Ends this process once all have come to the same end, whichever of them goes first then.

    Args:
      code: its exit code.
      message: a last line.
    """
    if joined():
        try:
            meet()
        except Exception as error:
            end(error, ABORTED)
    with contextlib.suppress(OSError):
        sys.stdout.flush()  # which an end by a signal would cut off
    preemption.settle(code)
    if message:
        print(message, file=sys.stderr)
    if joined():
        import jax

        with contextlib.suppress(Exception):
            jax.distributed.shutdown()
    sys.exit(code)
