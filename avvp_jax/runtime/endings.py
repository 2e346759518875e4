"""How a process of a multi-process run ends early: it prints one line and waits for no other.

JAX and its collectives print much of their own when a process fails, and may abort the program.
This module redirects that output to a file, and decides what the user sees.
"""

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
from avvp_jax.runtime import preemption, terminal

# Exit codes. LOST: another process of the run stopped answering. NOT_FOUND: the processes never
# found one another, which the user can put right. ABORTED: an error in compiled code.
LOST, NOT_FOUND, ABORTED = 76, 2, 1
# How long process 0 waits before it exits with an error. Processes that make the same mistake
# then have time to report it; otherwise they would report that process 0 is lost.
GRACE_SECONDS = 2
# Parts of the messages of JAX, its collectives and Orbax when another process does not answer.
_UNANSWERED = re.compile(
    r"gloo|coordination.?service|heartbeat|barrier|socket closed|connection closed by peer"
    r"|DEADLINE_EXCEEDED|nccl.*(remote|timeout|connection|abort)",
    re.IGNORECASE,
)

_ending = threading.Lock()
_index: int | None = None  # this process's index in the run; None if the run has one process
_together = False  # whether the processes have found one another
_missing = ""  # what to say if they never do
_on_abort = None  # a reference that keeps the handler alive, because C only has its address


def take_over(index: int, missing: str = "the processes do not find one another") -> None:
    """Puts this module in charge of what this process prints, and of how it ends.

    Args:
      index: of this process among those of the run.
      missing: what to say if the processes never find one another.
    """
    global _index, _missing
    _index, _missing = index, missing
    _take_terminal()
    _handle_abort()


def joined() -> bool:
    """Whether this process is one of several, or about to join them."""
    return _index is not None


def found_others() -> None:
    """Records that all processes have started: one that does not answer from now on is lost."""
    global _together
    _together = True


def _take_terminal() -> None:
    """Keeps the terminal for the output of process 0 and the messages of this module.

    All other output goes to a file: messages of compiled code about connections and signals,
    and what the other processes print. It has no name, so that nothing stays of it however this
    process ends; see `_keep_details`.
    """
    numbers = (terminal.OUT, terminal.ERR)
    out, err = (terminal.writer(os.dup(number)) for number in numbers)
    with tempfile.TemporaryFile() as file:
        for number in numbers:
            os.dup2(file.fileno(), number)
    sys.__stderr__ = err
    sys.stdout, sys.stderr = map(terminal.writer, numbers) if _index else (out, err)


def _details() -> bytes:
    """All output so far that is not for the terminal."""
    return os.pread(terminal.OUT, os.fstat(terminal.OUT).st_size, 0)


def _keep_details() -> str:
    """Writes them to a file that stays, for a line that names it; returns its path."""
    try:
        number, path = tempfile.mkstemp(".log", f"avvp_jax-process-{_index}-")
        with open(number, "wb") as file:
            file.write(_details())
    except OSError as problem:  # a full disk, say: the line comes all the same
        return str(problem)
    return path


def _handle_abort() -> None:
    """Handles SIGABRT, which JAX raises when it finds that another process is lost.

    The handler is a C function: JAX aborts in a thread of compiled code, where Python's own
    signal handlers never run.
    """
    global _on_abort
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: _end_after_abort())
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, type(_on_abort)], ctypes.c_void_p
    libc.signal(signal.SIGABRT, _on_abort)


def _end_after_abort() -> NoReturn:
    """Ends this process after compiled code aborted it, with the reason found in its output."""
    if (code := preemption.settled()) is not None:
        with _ending:
            os._exit(code)
    if not _together or _UNANSWERED.search(_details().decode(errors="replace")):
        end_as_lost()
    _end("aborted by compiled code; start the same command again to go on", ABORTED)


def end_as_lost() -> NoReturn:
    """Ends this process because another process of the run does not answer."""
    if _together:
        _end("another process of this run is lost; start the same command again to go on", LOST)
    _end(_missing, NOT_FOUND)


def end(error: Exception, code: int) -> NoReturn:
    """Ends this process with an error, without waiting for the other processes of the run.

    The others notice that this one is lost, and end too. If the error itself says that another
    process does not answer, this process reports that one as lost instead.
    """
    trace = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):
        os.write(terminal.OUT, trace.encode())
    if unanswered(error):
        end_as_lost()
    message = " ".join(str(error).split()) if isinstance(error, UserError) else trace
    _end(message, code, 0 if _index else GRACE_SECONDS)


def unanswered(error: BaseException | None) -> bool:
    """Whether an exception was caused by another process that does not answer."""
    while error is not None:
        # OSErrors and UserErrors speak of connections too: those of storage and downloads.
        if not isinstance(error, (UserError, OSError)) and _UNANSWERED.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _end(message: str, code: int, grace_seconds: float = 0) -> NoReturn:
    """Ends this process with one line; a signal changes neither that line nor the exit code."""
    with _ending:  # never released: several threads may want to end the process, only one does
        program, details = os.path.basename(sys.argv[0]), _keep_details()
        preemption.settle(code)
        line = f"{program}: process {_index}: {message} (details: {details})"
        print(line, file=sys.__stderr__, flush=True)
        time.sleep(grace_seconds)
        os._exit(code)
