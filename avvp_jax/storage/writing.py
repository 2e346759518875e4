"""Files of a run, in a folder or on cloud storage (gs://...).

They appear whole or not at all, and of several processes the first one writes them.
"""

import io
import logging
import math
import os
import re
import time
from collections.abc import Iterable

import fsspec
import numpy as np
from etils import epath

from avvp_jax.errors import UserError, cause
from avvp_jax.runtime import processes

# Between two writings of a file that grows on cloud storage, which limits their number.
CLOUD_SECONDS = 30.0

# Cloud storage is reached in one way (gcsfs), whether TensorFlow is installed or not.
os.environ.setdefault("EPATH_USE_TF", "false")
# What was listed once would hide what others have written since: Orbax, another process.
fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
# They log at length what they also raise.
for _name in ("fsspec", "gcsfs"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def on_cloud(path: str | os.PathLike) -> bool:
    """Whether a path is an address of cloud storage."""
    return "://" in os.fspath(path)


def absolute(path: str | os.PathLike) -> str:
    """A path that holds from any folder; ~ is home."""
    path = os.fspath(path)
    return path if on_cloud(path) else os.path.abspath(os.path.expanduser(path))


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file at once: a reader finds the old file or the whole new one.

    Raises:
      UserError: cloud storage does not take it.
      OSError: a disk does not.
    """
    if not processes.first():
        return
    path = epath.Path(path)
    if on_cloud(path):
        try:
            path.write_bytes(content)
        except Exception as error:  # of the storage's own package
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
    """Writes a text file likewise."""
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())


def write_npz(path: str | os.PathLike, **arrays: np.ndarray) -> None:
    """Writes an .npz likewise."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


class Journal:
    """A text file that grows by lines.

    Files on cloud storage cannot grow: there all is written again, now and then.
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
        """Leaves every line in its place."""
        if self._cloud and self._text:
            self._write()

    def _write(self) -> None:
        write_whole(self._path, self._text)
        self._written_at = time.monotonic()


def make_folder(path: str | os.PathLike) -> None:
    """Makes a folder and those that it lies in, where they are not there."""
    epath.Path(path).mkdir(parents=True, exist_ok=True)


def set_aside(path: str | os.PathLike) -> str:
    """Gives a damaged file or folder a name that nobody looks for; returns it."""
    path = epath.Path(path)
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir():
        aside.rmtree()
    path.replace(aside)
    return aside.name
