"""The process that decodes files for workers.py, one after the other. It trusts none of them."""

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from typing import BinaryIO

from avvp_jax.errors import UserError, cause
from avvp_jax.media import messages
from avvp_jax.media.opening import NO_MEMORY, MediaError, library
from avvp_jax.media.parts import Part, clip
from avvp_jax.media.windows import Wanted, whole, windows
from avvp_jax.task import Task


def main() -> None:
    """Answers jobs, a line of JSON each on stdin, by messages on stdout, until stdin ends.

    Each has "path", "wanted", "whole" and "part". The process ends at once when its stdin is
    closed, be it in the middle of a file: then whoever asked is gone.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with open(os.devnull, "w") as nothing:  # what libraries print must not get among messages
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("av", "PIL.Image", "soxr"):
        with contextlib.suppress(UserError):
            library(name)
    limit_memory(float(sys.argv[1]))
    messages.write(answers, None)  # ready
    jobs, turns = [], threading.Semaphore(0)
    threading.Thread(target=_listen, args=(jobs, turns), daemon=True).start()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    while True:
        turns.acquire()
        with contextlib.suppress(BrokenPipeError):
            _answer(jobs.pop(0), answers)


def _listen(jobs: list, turns: threading.Semaphore) -> None:
    for line in sys.stdin.buffer:
        jobs.append(json.loads(line))
        turns.release()
    os._exit(0)


def _watch(parent: int) -> None:
    """Ends with who asked, also where another process it forked keeps this one's stdin open."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _answer(job: dict, answers: BinaryIO) -> None:
    path = job["path"]
    try:
        given = {**job["wanted"], "task": Task.from_json(job["wanted"]["task"])}
        wanted = Wanted(**{**given, "views": tuple(given["views"])})
        if job["part"]:
            found = iter([clip(path, wanted, Part(path, *job["part"]))])
        else:
            found = iter([whole(path, wanted)]) if job["whole"] else windows(path, wanted)
        for window in found:
            messages.write(answers, window)
        messages.write(answers, None)
    except BrokenPipeError:
        raise
    except MemoryError:
        messages.write(answers, None, str(MediaError(path, NO_MEMORY)))
    except UserError as error:
        messages.write(answers, None, str(error))
    except Exception as error:  # of a library, about what is in the file
        reason = f"cannot be decoded ({type(error).__name__}: {cause(error)})"
        messages.write(answers, None, str(MediaError(path, reason)))


def limit_memory(megabytes: float) -> None:
    """Bounds what this process may allocate from now on, where the system can (Linux)."""
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
    except OSError:
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + int(megabytes * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
