"""The processes of one run: how they find one another, exchange values, and exit together.

Every process runs the same program on its own devices. JAX's coordination service, hosted by
process 0, connects them. Only process 0 prints and writes results.
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

# A process that sends no heartbeat for this long is lost. One that exits is noticed sooner.
HEARTBEAT_SECONDS = 20
# How long processes wait for one another in `meet`: process 0 may be preparing data.
PATIENCE_SECONDS = 24 * 3600

_meetings = itertools.count()


def join(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Joins the other processes of a run, if there are any. Must come before other calls to JAX.

    Args:
      coordinator: HOST:PORT of process 0; None looks for a cluster that JAX knows: a TPU pod
        slice, Slurm, Open MPI, or an indexed job of Kubernetes.
      number: how many processes the run has.
      index: which of them this one is.

    Raises:
      UserError: the three do not go together, or the processes do not find one another.
    """
    _check(coordinator, number, index)
    import jax  # here, because it is slow, and mistakes should be reported before

    if number == 1:
        return
    # preemption.py handles SIGTERM.
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
            return  # no cluster: a run of one process
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"the processes of this run do not find one another ({reason}); start each with the "
            "same --coordinator=HOST:PORT, the first one on that host"
        ) from error
    found_others()
    if _alone_on_host():
        # JAX assumes that Slurm and Open MPI start one task per GPU, and gives each task one GPU.
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, os.environ.get(name.upper(), "all"))
    if several() and not joined():
        take_over(jax.process_index())


def _check(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Checks that the three flags go together."""
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
    """Whether a cluster has started only one process on this host; it then uses all devices."""
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    tasks = tasks or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "")
    return re.fullmatch(r"1(\(x\d+\))?", tasks) is not None


def _refuse_taken(coordinator: str) -> None:
    """Checks that the coordinator's port is free; if it is not, JAX exits without a message."""
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
    """Hides Kubernetes from JAX outside an indexed job: JAX takes every pod for part of one."""
    name = "KUBERNETES_SERVICE_HOST"
    hidden = None if "JOB_COMPLETION_INDEX" in os.environ else os.environ.pop(name, None)
    try:
        yield
    finally:
        if hidden is not None:
            os.environ[name] = hidden


def several() -> bool:
    """Whether the run has more than one process."""
    import jax

    return jax.process_count() > 1


def first() -> bool:
    """Whether this is process 0, which prints and writes results."""
    import jax

    return jax.process_index() == 0


def meet() -> None:
    """Waits until every process of the run has called this, for up to PATIENCE_SECONDS."""
    if several():
        import jax
        import orbax.checkpoint as ocp

        everybody = set(range(jax.process_count()))
        name = f"meeting-{next(_meetings)}"
        ocp.multihost.sync_global_processes(name, timeout=PATIENCE_SECONDS, processes=everybody)


def as_the_first(value: int | list[int]) -> int | list[int]:
    """Process 0's value, in every process, so that all of them decide alike."""
    if not several():
        return value
    return gathered(np.asarray(value, np.int32))[0].tolist()


def gathered(value: np.ndarray) -> np.ndarray:
    """The values of all processes, [processes, ...], in every process; all have one shape."""
    from jax.experimental.multihost_utils import process_allgather

    meet()
    return process_allgather(value)


def leave(code: int, message: str = "") -> NoReturn:
    """Waits until all processes of the run have come to their end, and exits.

    Args:
      code: the exit code.
      message: a last line for stderr.
    """
    if joined():
        try:
            meet()
        except Exception as error:
            end(error, ABORTED)
    with contextlib.suppress(OSError):
        sys.stdout.flush()  # a signal may end the process from here on, without flushing
    preemption.settle(code)
    if message:
        print(message, file=sys.stderr)
    if joined():
        import jax

        with contextlib.suppress(Exception):
            jax.distributed.shutdown()
    sys.exit(code)
