"""Checks that prepared data can be written to a folder."""

import os
import shutil
from pathlib import Path

from avvp_jax.errors import UserError


def refuse_unwritable(folder: str | os.PathLike, needed: int) -> None:
    """Checks that `folder` can be created and has room for `needed` bytes; not on cloud storage.

    Raises:
        UserError: a file is in the way, or rights or space are missing.
    """
    if "://" in os.fspath(folder):
        return
    there = Path(folder).absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{there}: not a folder; choose another data_dir")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: cannot be written; choose another data_dir")
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{there}: the prepared data needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are "
            "free; make room or choose another data_dir"
        )
