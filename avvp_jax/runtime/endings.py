"""How one of several processes ends early: with one line, and without waiting for the others."""

import atexit
import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import NoReturn

from avvp_jax.errors import UserError
from avvp_jax.runtime import preemption

# Exit codes: of a process whose run has lost another one; that never found the others, which is
# the user's to mend; that an error in compiled code has ended.
LOST, NOT_FOUND, ABORTED = 76, 2, 1
# Processes wait so long for the others to be started.
JOINING_SECONDS = 300
# So that processes that find the same mistake say so, instead of that the first is lost.
GRACE_SECONDS = 2
# What JAX, its collectives and Orbax say where another process does not answer.
_UNANSWERED = re.compile(
    r"gloo|coordination.?service|heartbeat|barrier|socket closed|connection closed by peer"
    r"|DEADLINE_EXCEEDED|nccl.*(remote|timeout|connection|abort)",
    re.IGNORECASE,
)

_ending = threading.Lock()
_index: int | None = None  # of this process, once it is one of several
_together = False  # once they have found one another
_details = ""  # the file that what compiled code says goes to
_on_abort = None  # kept, because C only holds its address


def take_over(index: int) -> None:
    """Lets this module decide what one of several processes prints, and how it ends."""
    global _index
    _index = index
    _take_terminal()
    _end_on_abort()


def joined() -> bool:
    """Whether this process is one of several, or about to be."""
    return _index is not None


def found_others() -> None:
    """From now on a process that does not answer is lost, not one that was never started."""
    global _together
    _together = True


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
    atexit.register(_forget_details)
    preemption.at_end.append(_forget_details)


def _forget_details() -> None:
    with contextlib.suppress(OSError):
        os.remove(_details)


def _end_on_abort() -> None:
    """Lets this module have the last word where JAX finds a process lost, and aborts.

    It does so in a thread of compiled code, where Python's own signal handlers never run.
    """
    global _on_abort
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: _end_as_told())
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, type(_on_abort)], ctypes.c_void_p
    libc.signal(signal.SIGABRT, _on_abort)


def _end_as_told() -> NoReturn:
    """Ends this process, which compiled code has aborted, for the reason that it printed."""
    if (code := preemption.settled()) is not None:
        with _ending:
            _forget_details()
            os._exit(code)
    with open(_details, errors="replace") as file:
        if not _together or _UNANSWERED.search(file.read()):
            end_as_lost()
    _end("aborted by compiled code; start the same command again to go on", ABORTED)


def end_as_lost() -> NoReturn:
    """Ends this process, because another one of the run does not answer."""
    if _together:
        _end("another process of this run is lost; start the same command again to go on", LOST)
    _end(
        f"the processes of this run have not found one another for {JOINING_SECONDS} s; start all "
        "--num_processes with the same --coordinator=HOST:PORT, the first one on that host",
        NOT_FOUND,
    )


def end(error: Exception, code: int) -> NoReturn:
    """Ends this process of several with an error, without waiting for the others.

    They find it lost. If it is rather one of them that does not answer, this one is as lost.
    """
    trace = "".join(traceback.format_exception(error))
    os.write(1, trace.encode())
    if unanswered(error):
        end_as_lost()
    message = " ".join(str(error).split()) if isinstance(error, UserError) else trace
    _end(message, code, 0 if _index else GRACE_SECONDS)


def unanswered(error: BaseException | None) -> bool:
    """Whether an exception comes from another process that does not answer."""
    while error is not None:
        # Storage and downloads have connections of their own, and OSErrors.
        if not isinstance(error, (UserError, OSError)) and _UNANSWERED.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _end(message: str, code: int, grace_seconds: float = 0) -> NoReturn:
    """Ends this process with one line, to which no signal adds another, nor another code."""
    with _ending:  # for good, since several threads may find a reason
        preemption.at_end.clear()  # the details are named
        preemption.settle(code)
        program = os.path.basename(sys.argv[0])
        line = f"{program}: process {_index}: {message} (details: {_details})"
        print(line, file=sys.__stderr__, flush=True)
        time.sleep(grace_seconds)
        os._exit(code)
