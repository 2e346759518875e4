"""Writes the files of a run, to a folder or to cloud storage (gs://...).

A file appears whole or not at all. In a run of several processes, process 0 writes.
"""

import io
import logging
import math
import os
import random
import re
import time
from collections.abc import Iterable

import fsspec
import numpy as np
from etils import epath

from avvp_jax.errors import UserError, cause
from avvp_jax.runtime import processes

# Seconds between two writes of a growing file on cloud storage, which limits the rate of writes.
CLOUD_SECONDS = 30.0

# epath would use TensorFlow for cloud storage if that is installed; this makes it always use gcsfs.
os.environ.setdefault("EPATH_USE_TF", "false")
# A cached listing would hide files that Orbax or another process has written since.
fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
# These packages also log, at length, the errors that they raise.
for _name in ("fsspec", "gcsfs"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def on_cloud(path: str | os.PathLike) -> bool:
    """Whether a path is an address of cloud storage."""
    return "://" in os.fspath(path)


def absolute(path: str | os.PathLike) -> str:
    """A path made absolute, with ~ expanded."""
    path = os.fspath(path)
    return path if on_cloud(path) else os.path.abspath(os.path.expanduser(path))


def write_whole(path: str | os.PathLike, content: bytes, everyone: bool = False) -> None:
    """Writes a file atomically: a reader sees the old file or the whole new one.

    Args:
      everyone: whether every process of the run writes, each files of its own.

    Raises:
      UserError: cloud storage cannot be written.
      OSError: a disk cannot be written.
    """
    if not everyone and not processes.first():
        return
    path = epath.Path(path)
    if on_cloud(path):
        try:
            path.write_bytes(content)
        except Exception as error:  # the storage's package raises its own kinds
            raise UserError(
                f"{path}: cannot be written ({cause(error)}); start the same command again when "
                "the storage takes it"
            ) from error
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    """Writes lines of text atomically."""
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())


def write_npz(path: str | os.PathLike, **arrays: np.ndarray) -> None:
    """Writes an .npz atomically."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


def write_small_npz(path: str | os.PathLike, **arrays: np.ndarray) -> None:
    """Writes an .npz atomically, compressed: masks and names take a tenth of their size."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes a .npy atomically, in whatever process calls this."""
    content = io.BytesIO()
    np.save(content, array)
    write_whole(path, content.getvalue(), everyone=True)


class Journal:
    """A text file to which lines are appended.

    An object on cloud storage cannot be appended to; there the whole file is written again
    every CLOUD_SECONDS.
    """

    def __init__(self, path: str | os.PathLike):
        self._path, self._cloud = epath.Path(path), on_cloud(path)
        self._text, self._written_at = b"", -math.inf
        if self._path.exists():
            if not self._path.is_file():
                raise UserError(f"{path}: is not a file; remove it, and start the command again")
            # A process that was killed may have left half a line.
            self._text = b"".join(re.findall(rb".*\n", self._path.read_bytes()))
            self._write()
        if not self._cloud:
            self._text = b""

    def add(self, line: str) -> None:
        if not self._cloud:
            with self._path.open("a") as file:
                file.write(line + "\n")
            return
        self._text += f"{line}\n".encode()
        if time.monotonic() > self._written_at + CLOUD_SECONDS:
            self._write()

    def flush(self) -> None:
        """Writes all lines that are not in the file yet."""
        if self._cloud and self._text:
            self._write()

    def _write(self) -> None:
        write_whole(self._path, self._text)
        self._written_at = time.monotonic()


def make_folder(path: str | os.PathLike) -> None:
    """Makes a folder and its parents, if they do not exist."""
    epath.Path(path).mkdir(parents=True, exist_ok=True)


def blind_process(folder: str | os.PathLike) -> int | None:
    """The first process of the run that does not see what process 0 writes in a folder, if any.

    All processes call this.

    Raises:
      UserError, OSError: see write_whole.
    """
    if not processes.several():
        return None
    token = processes.as_the_first(random.randrange(2**31))
    mark = epath.Path(folder) / f".seen-{token}"
    try:
        write_whole(mark, os.urandom(8))
        processes.meet()
        seen = processes.gathered(np.array([mark.exists()]))
    finally:
        if processes.first():
            mark.unlink(missing_ok=True)
    return None if seen.all() else int(np.argmin(seen))


def set_aside(path: str | os.PathLike) -> str:
    """Renames a damaged file or folder to NAME.damaged, so that nothing reads it.

    Returns:
      The new name.
    """
    path = epath.Path(path)
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir():
        aside.rmtree()
    path.replace(aside)
    return aside.name
