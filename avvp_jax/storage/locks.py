"""Locks in a folder: the system unlocks them once their process has ended, however it did."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from avvp_jax.errors import UserError
from avvp_jax.storage.leases import lease, owner
from avvp_jax.storage.writing import on_cloud


@contextlib.contextmanager
def lock(path: str, refusal: str = "", waiting: str = "") -> Iterator[bool]:
    """Holds a file that only one process can hold; it is gone afterwards.

    Args:
      path: of the file; its folders are made for it.
      refusal: what a UserError says if another process holds it; {} becomes which.
      waiting: what is printed instead, and then waited for, likewise.

    Yields:
      Whether it is held: not in a folder where files cannot be made or locked.

    Raises:
      UserError: another process holds it, or cloud storage does not take it.
    """
    if on_cloud(path):
        with lease(path, refusal, waiting):
            yield True
        return
    made = _missing_folders(os.path.dirname(path))
    file = _locked(path, refusal, waiting)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(FileNotFoundError):  # with all of the work directory
                os.remove(path)
            file.close()
        with contextlib.suppress(OSError):  # somebody has put something there
            for folder in made:
                os.rmdir(folder)


def _locked(path: str, refusal: str, waiting: str):
    """The open file, locked; None where that cannot be."""
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # A link would let this write into what it leads to.
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+")
        except FileNotFoundError:
            continue  # whoever held it has just removed the folders that it had made
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
        # Whoever held it before may have removed it.
        if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            break
        file.close()
    with contextlib.suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(owner())
        file.flush()
    return file


def _missing_folders(folder: str) -> list[str]:
    """A folder and those that it lies in, as far as they are not there; innermost first."""
    missing = []
    while folder and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
