"""How a process ends early: SIGTERM, which comes before a preemption, and Ctrl-C.

While signals are held, a training ends itself where it can save. At any other time the
process ends at once: what it writes appears whole or not at all, so that nothing is torn. A
second signal always ends it at once. Where a process has come to its end by itself, signals
change nothing but when it ends.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

# As sysexits.h has it for "try again", and as shells have it for Ctrl-C.
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}

at_end: list[Callable[[], None]] = []  # what to do before an end at once

_lock = threading.Lock()
_holding = False
_received: signal.Signals | None = None  # by this process
_code: int | None = None  # that this process ends with in any case
_agreed: signal.Signals | None = None  # by any process of the run, as `asked` told last


class Preempted(Exception):
    """A training has saved and stopped; the process should end with `code`."""

    def __init__(self, received: signal.Signals):
        super().__init__(f"stopped by {received.name}; start the same command again to go on")
        self.code = EXIT_CODES[received]


def watch() -> None:
    """From now on signals end this process as this module says; to be called once by a program.

    A thread listens, because Python's own handlers wait for calls into compiled code to return.
    """
    listen, tell = os.pipe()
    os.set_blocking(tell, False)
    for number in EXIT_CODES:
        signal.signal(number, lambda *_: None)
    atexit.register(_ignore)  # first, and therefore called last
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(listen,), daemon=True).start()


def _ignore() -> None:
    """Python lets go of its handlers a while before a process ends, and signals would end it."""
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


def settle(code: int) -> None:
    """From now on this process ends with `code`, also where a signal is faster than itself."""
    global _code
    with _lock:
        _code = code


def settled() -> int | None:
    """The exit code that this process ends with in any case; None while it may be another."""
    return _code


def _listen(pipe: int) -> None:
    while True:
        number = os.read(pipe, 1)[0]
        if number in EXIT_CODES:
            _receive(signal.Signals(number))


def _receive(received: signal.Signals) -> None:
    global _received
    with _lock:
        if _holding and _received is None and _code is None:
            _received = received
            return
        _end(received)


def _end(received: signal.Signals) -> NoReturn:
    """Ends this process at once; comes with the lock, so that one thread does."""
    if _code is None:
        message = f"{os.path.basename(sys.argv[0])}: {Preempted(received)}\n"
        os.write(sys.__stderr__.fileno(), message.encode())
    for leave_nothing in at_end:
        leave_nothing()
    os._exit(EXIT_CODES[received] if _code is None else _code)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Lets a training end itself when it is asked to.

    A signal that comes so late that the processes of a run have asked one another for the last
    time ends this one at once.

    Raises:
      Preempted: it was asked to, and has done what it does in this context.
    """
    global _holding
    _holding, ending = True, False
    try:
        yield
        ending = asked()
    finally:
        with _lock:
            # The signal that each process of an ending run gets is not one too many.
            _holding = ending
    if ending:
        raise Preempted(_agreed)
    with _lock:
        if _received:
            _end(_received)


def asked() -> bool:
    """Whether a signal is held that asks this process, or another of the run, to end.

    All processes of a run have to call this equally often, and are told the same.
    """
    global _agreed
    import jax  # here, because programs watch before they import what takes a while

    _agreed = _received
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import process_allgather

        number = process_allgather(int(_received or 0)).max()
        _agreed = signal.Signals(int(number)) if number else None
    return _agreed is not None
