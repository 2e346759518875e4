"""How a process reacts to signals that announce its end, SIGTERM among them, and to Ctrl-C.

During training, signals are held: training sees the request, saves its state and stops. At any
other time a signal ends the process at once. That is safe, because every file appears whole or
not at all. A second SIGTERM or Ctrl-C always ends the process at once. Once the exit code is
settled, a signal may end the process sooner, but with that code and no further message.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from avvp_jax.runtime import terminal

# What schedulers send before they end a process (Slurm's --signal, submitit, a limit of CPU time),
# and what a lost terminal sends. They may come several times, or before a SIGTERM.
ANNOUNCEMENTS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# 75 means "try again" in sysexits.h; 130 is what shells report for Ctrl-C.
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130} | dict.fromkeys(ANNOUNCEMENTS, 75)

_lock = threading.Lock()
_holding = False  # whether the next signal is held for training
_received: signal.Signals | None = None  # the signal that this process holds
_insisted = False  # whether it holds one that is no announcement: the next such is a second one
_code: int | None = None  # the exit code, once it is settled
_agreed: signal.Signals | None = None  # a signal held by any process, as of the last `asked`


class Preempted(Exception):
    """Training has saved its state and stopped; the process should exit with `code`."""

    def __init__(self, received: signal.Signals):
        super().__init__(f"stopped by {received.name}; start the same command again to go on")
        self.code = EXIT_CODES[received]


def watch() -> None:
    """Starts to handle signals as this module describes. A program calls it once.

    From then on printing never fails either (terminal.py): a reader that goes away is announced by
    a signal too, SIGPIPE, which Python ignores.

    An announcement that was ignored before stays so: that is how nohup protects from SIGHUP.

    A thread listens for signals, because a Python signal handler only runs when the current
    call into compiled code has returned.
    """
    terminal.protect()
    listen, tell = os.pipe()
    os.set_blocking(tell, False)
    for number in EXIT_CODES:
        if number not in ANNOUNCEMENTS or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    atexit.register(_ignore)  # registered first, and therefore called last
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(listen,), daemon=True).start()


def _ignore() -> None:
    """Ignores signals while Python shuts down.

    Python removes its handlers some time before the process ends. A signal after that would
    end the process with another exit code.
    """
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


def settle(code: int) -> None:
    """Settles the exit code: this process ends with `code`, even if a signal ends it first."""
    global _code
    with _lock:
        _code = code


def settled() -> int | None:
    """The settled exit code; None if it is still open."""
    return _code


def _listen(pipe: int) -> None:
    while True:
        number = os.read(pipe, 1)[0]
        if number in EXIT_CODES:
            _receive(signal.Signals(number))


def _receive(received: signal.Signals) -> None:
    global _received, _insisted
    with _lock:
        insists = received not in ANNOUNCEMENTS
        if _holding and _code is None and not (insists and _insisted):
            _received = _received or received
            _insisted = _insisted or insists
            return
        _end(received)


def _end(received: signal.Signals) -> NoReturn:
    """Ends this process at once. The caller holds the lock, so that only one thread does."""
    if _code is None:
        message = f"{os.path.basename(sys.argv[0])}: {Preempted(received)}\n"
        with contextlib.suppress(OSError):
            os.write(sys.__stderr__.fileno(), message.encode())
    os._exit(EXIT_CODES[received] if _code is None else _code)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds signals while training runs, so that training itself can save and stop.

    A signal may come after the last call of `asked`, too late for all processes to agree on
    it. It ends this process when the context ends.

    Raises:
      Preempted: a signal was held, and training has saved and stopped.
    """
    global _holding
    _holding, ending = True, False
    try:
        yield
        ending = asked()
    finally:
        with _lock:
            # If the run is ending, each process may still get its own signal. That one counts
            # as the first, not as a second one that would end the process at once.
            _holding = ending
    if ending:
        raise Preempted(_agreed)
    with _lock:
        if _received:
            _end(_received)


def asked() -> bool:
    """Whether any process of the run holds a signal that asks it to stop.

    All processes must call this equally often; all get the same answer.
    """
    global _agreed
    import jax  # here, because programs call `watch` before slow imports

    _agreed = _received
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import process_allgather

        number = process_allgather(int(_received or 0)).max()
        _agreed = signal.Signals(int(number)) if number else None
    return _agreed is not None
