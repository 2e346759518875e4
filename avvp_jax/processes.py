"""The processes of one run: how they find one another, agree, and end together.

Every process runs the same program on its own devices; JAX's coordination service, which the
first one hosts, holds them together. The first alone prints, and writes results.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from avvp_jax import preemption
from avvp_jax.errors import UserError

# Exit codes: of a process whose run has lost another one; that never found the others, which is
# the user's to mend; that an error in compiled code has ended.
LOST, NOT_FOUND, ABORTED = 76, 2, 1
# A process that says nothing for so long is lost. One that ends is missed sooner.
HEARTBEAT_SECONDS = 20
# Processes wait so long for the others to be started.
JOINING_SECONDS = 300
# They wait so long for one another at a meeting: the first may be preparing data.
PATIENCE_SECONDS = 24 * 3600
# So that processes that find the same mistake say so, instead of that the first is lost.
GRACE_SECONDS = 2
# What JAX, its collectives and Orbax say where another process does not answer.
_UNANSWERED = re.compile(
    r"gloo|coordination.?service|heartbeat|barrier|socket closed|connection closed by peer"
    r"|DEADLINE_EXCEEDED|nccl.*(remote|timeout|connection|abort)",
    re.IGNORECASE,
)

_meetings = itertools.count()
_ending = threading.Lock()
_index = None  # of this process, once it is one of several
_together = False  # once they have found one another
_details = ""  # the file that what compiled code says goes to
_on_abort = None  # kept, because C only holds its address
_leaving: int | None = None  # with this exit code, once all have done what they came for


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
        _take_over(index)
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
    global _together
    _together = True
    if _alone_on_host():
        # JAX takes every task of Slurm and Open MPI for one of several on a host, with a GPU each.
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, os.environ.get(name.upper(), "all"))
    if several() and not joined():
        _take_over(jax.process_index())


def joined() -> bool:
    """Whether this process is one of several, or about to be."""
    return _index is not None


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


def _take_over(index: int) -> None:
    """Lets this module decide what one of several processes prints, and how it ends."""
    global _index
    _index = index
    _take_terminal()
    _end_on_abort()


def _take_terminal() -> None:
    """Leaves the terminal to this module and what the first process prints.

    What compiled code says of connections and signals, and what other processes print, goes
    to a file that is removed at the end of a run that ends well.
    """
    global _details
    out, err = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    prefix = f"avvp_jax-process-{_index}-"
    file = tempfile.NamedTemporaryFile("w", buffering=1, prefix=prefix, suffix=".log", delete=False)
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    sys.__stderr__ = err
    sys.stdout, sys.stderr = (file, file) if _index else (out, err)
    _details = file.name
    atexit.register(os.remove, file.name)


def _end_on_abort() -> None:
    """Lets this module have the last word where JAX finds a process lost, and aborts.

    It does so in a thread of compiled code, where Python's own signal handlers never run.
    """
    global _on_abort
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: _end_as_told())
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, type(_on_abort)], ctypes.c_void_p
    libc.signal(signal.SIGABRT, _on_abort)


def leave(code: int) -> NoReturn:
    """Ends this process with a result that all have come to, whichever of them goes first."""
    global _leaving
    if joined():
        import jax

        try:
            meet()
            _leaving = code
            jax.distributed.shutdown()
        except Exception as error:
            if _leaving is None:
                end(error, ABORTED)
    preemption.ignore()
    sys.exit(code)


def _end_as_told() -> NoReturn:
    """Ends this process, which compiled code has aborted, for the reason that it printed."""
    if _leaving is not None:
        with contextlib.suppress(OSError):
            os.remove(_details)
        os._exit(_leaving)
    with open(_details, errors="replace") as file:
        if not _together or _UNANSWERED.search(file.read()):
            end_as_lost()
    with _ending:
        _say("aborted by compiled code; start the same command again to go on")
        os._exit(ABORTED)


def end_as_lost() -> NoReturn:
    """Ends this process, because another one of the run does not answer."""
    with _ending:  # for good, since several threads may find out
        if _together:
            _say("another process of this run is lost; start the same command again to go on")
            os._exit(LOST)
        _say(
            f"the processes of this run have not found one another for {JOINING_SECONDS} s; start "
            "all --num_processes with the same --coordinator=HOST:PORT, the first one on that host"
        )
        os._exit(NOT_FOUND)


def end(error: Exception, code: int) -> NoReturn:
    """Ends this process of several with an error, without waiting for the others.

    They find it lost. If it is rather one of them that does not answer, this one is as lost.
    """
    trace = "".join(traceback.format_exception(error))
    os.write(1, trace.encode())
    if unanswered(error):
        end_as_lost()
    message = " ".join(str(error).split()) if isinstance(error, UserError) else trace
    with _ending:
        _say(message)
        if first():
            time.sleep(GRACE_SECONDS)
        os._exit(code)


def unanswered(error: BaseException | None) -> bool:
    """Whether an exception comes from another process that does not answer."""
    while error is not None:
        # Storage and downloads have connections of their own, and OSErrors.
        if not isinstance(error, (UserError, OSError)) and _UNANSWERED.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _say(message: str) -> None:
    program = os.path.basename(sys.argv[0])
    line = f"{program}: process {_index}: {message} (details: {_details})"
    print(line, file=sys.__stderr__, flush=True)
