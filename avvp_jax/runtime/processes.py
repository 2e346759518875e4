"""The processes of one run: how they find one another, exchange values, and exit together.

Every process runs the same program on its own devices. JAX's coordination service, hosted by
process 0, connects them. Only process 0 prints and writes results.
"""

import contextlib
import itertools
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from avvp_jax.errors import UserError, cause
from avvp_jax.runtime import clusters, preemption
from avvp_jax.runtime.clusters import ALONE, Meeting, alone_on_host
from avvp_jax.runtime.endings import ABORTED, end, found_others, joined, take_over

# How long processes wait for one another before they say so.
QUIET_SECONDS = 5
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
    meeting = clusters.meeting(coordinator, number, index)
    if meeting is None:
        return
    import jax  # here, because it is slow, and mistakes should be reported before

    # preemption.py handles SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if meeting.index == 0:
        meeting.refuse_unusable()
    apart = (
        f"the {meeting.number} processes of this run, given by {meeting.source}, do not find one "
        f"another at {meeting.address}"
    )
    take_over(meeting.index, missing=f"{apart}; {meeting.way_out}")
    try:
        with _waiting(meeting), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.distributed.initialize(
                coordinator_address=meeting.address,
                num_processes=meeting.number,
                process_id=meeting.index,
                local_device_ids=meeting.devices,
                cluster_detection_method="deactivate",  # done above
                initialization_timeout=clusters.JOINING_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=PATIENCE_SECONDS,
            )
    except Exception as error:
        raise UserError(f"{apart} ({cause(error)}); {meeting.way_out}") from error
    found_others()
    if alone_on_host():
        # JAX assumes that Slurm and Open MPI start one task per GPU, and gives each task one GPU.
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, os.environ.get(name.upper(), "all"))


@contextlib.contextmanager
def _waiting(meeting: Meeting) -> Iterator[None]:
    """Says what this process waits for meanwhile, once that takes longer than it usually does."""

    def say() -> None:
        program, place = os.path.basename(sys.argv[0]), f"process {meeting.index}"
        print(
            f"{program}: {place}: waiting for all {meeting.number} processes of this run at "
            f"{meeting.address}, as given by {meeting.source}; {ALONE}",
            file=sys.__stderr__,
            flush=True,
        )

    # The others speak later, in case that there is no process 0.
    timer = threading.Timer(QUIET_SECONDS * (6 if meeting.index else 1), say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def several() -> bool:
    """Whether the run has more than one process."""
    import jax

    return jax.process_count() > 1


def first() -> bool:
    """Whether this is process 0, which prints and writes results."""
    import jax

    return jax.process_index() == 0


def index() -> int:
    """Which of the processes of the run this is, from 0."""
    import jax

    return jax.process_index()


def count() -> int:
    """How many processes the run has."""
    import jax

    return jax.process_count()


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
