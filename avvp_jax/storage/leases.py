"""Locks on cloud storage: a lock is an object that its holder rewrites every few seconds.

If the object does not change for a minute, its holder is taken for dead, and another process
may take the lock.
"""

import contextlib
import itertools
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import fsspec

from avvp_jax.errors import UserError, cause

BEAT_SECONDS, LOST_SECONDS = 10.0, 60.0
TAKEN_OVER = 2  # the exit code of a process that has lost its lock to another one


@contextlib.contextmanager
def lease(path: str, refusal: str, waiting: str) -> Iterator[None]:
    """Holds a lock on cloud storage; the arguments are those of locks.lock.

    Raises:
      UserError: another process holds it, or the object cannot be written.
    """
    files = fsspec.filesystem(path.partition("://")[0])
    # Two processes may have the same number, on hosts of the same name: the UUID differs.
    name = f"{owner()}\n{uuid.uuid4()}\n"
    try:
        while not _create(files, path, name.encode()):
            _wait_until_lost(files, path, refusal, waiting)
    except UserError:
        raise
    except Exception as error:  # each storage's package raises its own kinds
        raise UserError(f"{path}: cannot be written ({cause(error)}); choose another") from error
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, path, name, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        # If this fails, the next process waits until the lock counts as abandoned.
        with contextlib.suppress(Exception):
            files.rm_file(path)


def _create(files: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    """Creates an object; False if it exists. Of several processes only one succeeds."""
    try:
        files.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def _wait_until_lost(files, path: str, refusal: str, waiting: str) -> None:
    """Waits until a lock is released or abandoned; removes an abandoned one.

    Raises:
      UserError: its holder is alive, and `waiting` is empty.
    """
    content, since, said = _read(files, path), time.monotonic(), False
    while time.monotonic() < since + LOST_SECONDS:
        if not said:
            other = content.partition(b"\n")[0].decode(errors="replace")
            looking = f"{path}: of {other}; looking for {LOST_SECONDS:.0f} s whether that is alive"
            print(waiting.format(other) if waiting else looking, flush=True)
            said = True
        time.sleep(BEAT_SECONDS / 5)
        now = _read(files, path)
        if not now:
            return
        if now != content:
            if not waiting:
                raise UserError(refusal.format(other))
            content, since = now, time.monotonic()
    with contextlib.suppress(FileNotFoundError):
        files.rm_file(path)


def _read(files: fsspec.AbstractFileSystem, path: str) -> bytes:
    """The content of a lock; empty if it is gone."""
    try:
        return files.cat_file(path)
    except FileNotFoundError:
        return b""


def _beat(files, path: str, name: str, ended: threading.Event) -> None:
    """Rewrites a lock until `ended` is set; exits the process if another one took the lock.

    That happens if this process could not write for a minute: it was suspended, or had no
    network.
    """
    for count in itertools.count(1):
        if ended.wait(BEAT_SECONDS):
            return
        with contextlib.suppress(Exception):  # the network may be back at the next beat
            content = _read(files, path)
            if not content.startswith(name.encode()):
                other = content.partition(b"\n")[0].decode(errors="replace") or "nobody"
                program = os.path.basename(sys.argv[0])
                os.write(2, f"{program}: {path}: is of {other} now; stopped here\n".encode())
                os._exit(TAKEN_OVER)
            files.pipe_file(path, f"{name}{count}".encode())


def owner() -> str:
    """Describes this process: its number and its host."""
    return f"process {os.getpid()} on {socket.gethostname()}"
