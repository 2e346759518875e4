"""How a process ends early: SIGTERM, which comes before a preemption, and Ctrl-C.

While signals are held, a training ends itself where it can save. At any other time the
process ends at once: what it writes appears whole or not at all, so that nothing is torn. A
second signal always ends it at once.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

# As sysexits.h has it for "try again", and as shells have it for Ctrl-C.
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}

_lock = threading.Lock()
_holding = False
_received: signal.Signals | None = None  # by this process
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
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(listen,), daemon=True).start()


def ignore() -> None:
    """From now on signals do nothing: the process is about to end with a code of its own.

    Otherwise they would end it with theirs, since Python lets go of its handlers a while before.
    """
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


def _listen(pipe: int) -> None:
    while True:
        number = os.read(pipe, 1)[0]
        if number in EXIT_CODES:
            _receive(signal.Signals(number))


def _receive(received: signal.Signals) -> None:
    global _received
    with _lock:
        if _holding and _received is None:
            _received = received
            return
    _end(received)


def _end(received: signal.Signals) -> NoReturn:
    message = f"{os.path.basename(sys.argv[0])}: {Preempted(received)}\n"
    os.write(sys.stderr.fileno(), message.encode())
    os._exit(EXIT_CODES[received])


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Lets a training end itself when it is asked to.

    Raises:
      Preempted: it was, after what it does in this context.
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
    if _received:  # after the processes had asked one another
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
