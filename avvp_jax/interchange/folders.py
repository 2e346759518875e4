"""Finds the published checkpoint in a folder that a user names instead of the file."""

import itertools
import os
from collections.abc import Sequence

from avvp_jax.errors import UserError, first_ten
from avvp_jax.interchange.layouts import Layout, early_path
from avvp_jax.storage.left_behind import own_names

_ENDINGS = (".pt", ".pth", ".pth.tar", ".ckpt", ".bin")


def published_in(folder: str, layouts: Sequence[Layout]) -> str:
    """What names the one published checkpoint in a folder, or in folders of that.

    Args:
      layouts: of the methods that it may be of.

    Returns:
      The path of its file; of several files, what their names begin with (see Layout.paths).

    Raises:
      UserError: there are several, or none; says what is there, or missing.
    """
    files = _files_in(folder)
    found = _checkpoints(files, layouts)
    if len(found) == 1:
        return os.path.join(folder, found[0])
    if found:
        raise UserError(
            f"{folder}: holds several published checkpoints: {first_ten(found)}; name one of them"
        )
    paths = (layout.paths("NAME.pt" if "" in layout.files else "NAME") for layout in layouts)
    lacks = " or ".join(dict.fromkeys(" and ".join(each.values()) for each in paths))
    there = f"; there is {first_ten(files)}" if files else ""
    raise UserError(
        f"{folder}: not a work directory (it has no config.json), and it lacks a published {lacks}"
        f"{there}; name a work directory or a published .pt"
    )


def _files_in(folder: str) -> list[str]:
    """The checkpoint files in a folder; if it has none, those in its folders."""
    names = own_names(folder)
    if files := list(filter(_may_hold_a_model, names)):
        return _once(folder, files)
    below = [f"{name}/{each}" for name in names for each in own_names(os.path.join(folder, name))]
    return _once(folder, list(filter(_may_hold_a_model, below)))


def _may_hold_a_model(file: str) -> bool:
    return file.lower().endswith(_ENDINGS) and "optim" not in os.path.basename(file).lower()


def _once(folder: str, files: list[str]) -> list[str]:
    """The files without links to others of them."""
    paths = {file: os.path.join(folder, file) for file in files}
    own = {path for path in paths.values() if not os.path.islink(path)}
    return [
        f
        for f, path in paths.items()
        if path in own or os.path.realpath(path) not in set(map(os.path.realpath, own))
    ]


def _checkpoints(files: list[str], layouts: Sequence[Layout]) -> list[str]:
    """The checkpoints that files make: together those of a method's parts, else each alone.

    An early model beside the best is none.
    """
    with_early = [layout for layout in layouts if layout.early]
    parts = {early_path(layout, file, ".pt") for layout in with_early for file in files}
    prefixes = {}
    for layout in (layout for layout in layouts if "" not in layout.files):
        for file, ending in itertools.product(files, layout.files.values()):
            prefix = file.removesuffix(ending)
            of_prefix = layout.paths(prefix).values()
            if file.endswith(ending) and set(of_prefix) <= set(files):
                prefixes[prefix] = None
                parts.update(of_prefix)
    alone = any("" in layout.files for layout in layouts)
    return [*prefixes, *(file for file in files if alone and file not in parts)]
