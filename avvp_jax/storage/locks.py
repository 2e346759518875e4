"""Lock files. The operating system releases a lock when its process ends, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from avvp_jax.errors import UserError
from avvp_jax.storage.leases import lease, owner
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.storage.writing import on_cloud


@contextlib.contextmanager
def lock(path: str, refusal: str = "", waiting: str = "") -> Iterator[bool]:
    """Holds a lock file, which only one process can hold at a time; removes it afterwards.

    If another process holds it, this waits for that process if `waiting` is given, and raises
    otherwise.

    Args:
      path: the lock file. Missing folders are made, and removed again.
      refusal: the message of the UserError; {} in it stands for the other process.
      waiting: what to print before waiting; {} likewise.

    Yields:
      True if the lock is held; False if the folder allows no files or no locks.

    Raises:
      UserError: another process holds the lock, or cloud storage cannot be written.
    """
    if on_cloud(path):
        with lease(path, refusal, waiting):
            yield True
        return
    made = _missing_folders(os.path.dirname(path))
    file = _acquire(path, refusal, waiting)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(FileNotFoundError):  # the work directory may be deleted
                os.remove(path)
            file.close()
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            for folder in made:
                os.rmdir(folder)


def _acquire(path: str, refusal: str, waiting: str):
    """The lock file, open and locked; None if the folder allows no files or no locks."""
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # O_NOFOLLOW, so that this does not write to the target of a symbolic link.
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+")
        except FileNotFoundError:
            if problem := dead_link(os.path.dirname(path)):
                raise UserError(f"{os.path.dirname(path)}: {problem}; choose another") from None
            continue  # the last holder has just removed the folders that it had made
        except OSError:
            if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
                raise UserError(f"{path}: is not a file; remove it") from None
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read() or "another process"
            if not waiting:
                raise UserError(refusal.format(other)) from None
            print(waiting.format(other), flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            return None
        # The last holder may have removed the file before this process locked it; then the
        # lock is on a deleted file, and a new one is needed.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                break
        file.close()
    with contextlib.suppress(OSError):  # the disk may be full; the lock holds all the same
        file.truncate(0)
        file.write(owner())
        file.flush()
    return file


def _missing_folders(folder: str) -> list[str]:
    """Which of a folder and its parents do not exist, innermost first."""
    missing = []
    while folder and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
