"""Locks on cloud storage: objects that their holder writes again and again.

One that stays the same for a minute is nobody's.
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
TAKEN_OVER = 2  # the exit code of a process whose lock is another's now


@contextlib.contextmanager
def lease(path: str, refusal: str, waiting: str) -> Iterator[None]:
    """Holds an object on cloud storage; see locks.lock.

    Raises:
      UserError: another process holds it, or the storage does not take it.
    """
    files = fsspec.filesystem(path.partition("://")[0])
    # So that a process of the same number on a host of the same name is another.
    name = f"{owner()}\n{uuid.uuid4()}\n"
    try:
        while not _create(files, path, name.encode()):
            _wait_until_lost(files, path, refusal, waiting)
    except UserError:
        raise
    except Exception as error:  # of the storage's own package
        raise UserError(f"{path}: cannot be written ({cause(error)}); choose another") from error
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, path, name, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with contextlib.suppress(Exception):  # the next one waits until it is lost
            files.rm_file(path)


def _create(files: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    """Whether an object was not there, and is now; of several processes only one makes it."""
    try:
        files.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def _wait_until_lost(files, path: str, refusal: str, waiting: str) -> None:
    """Removes a lock that nobody writes any more.

    Raises:
      UserError: somebody does, if there is nothing to print for `waiting`.
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
    """The content of a lock; nothing if it is gone."""
    try:
        return files.cat_file(path)
    except FileNotFoundError:
        return b""


def _beat(files, path: str, name: str, ended: threading.Event) -> None:
    """Writes a lock until it has ended; ends the process if another one has taken it over.

    That other one did not hear of this one for a minute: it stood still, or had no network.
    """
    for count in itertools.count(1):
        if ended.wait(BEAT_SECONDS):
            return
        with contextlib.suppress(Exception):  # perhaps the network is back at the next beat
            content = _read(files, path)
            if not content.startswith(name.encode()):
                other = content.partition(b"\n")[0].decode(errors="replace") or "nobody"
                program = os.path.basename(sys.argv[0])
                os.write(2, f"{program}: {path}: is of {other} now; stopped here\n".encode())
                os._exit(TAKEN_OVER)
            files.pipe_file(path, f"{name}{count}".encode())


def owner() -> str:
    """This process, in words."""
    return f"process {os.getpid()} on {socket.gethostname()}"
