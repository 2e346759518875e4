"""Where files of weights are looked for: a folder on this machine, and names in it."""

import glob
import os
from collections.abc import Sequence

from avvp_jax.encoders.pairs import PAIRS, Pair
from avvp_jax.encoders.published import Encoder
from avvp_jax.errors import UserError
from avvp_jax.storage.writing import absolute, on_cloud

_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))  # either will do


def default_folder() -> str:
    """The user's folder for weights, in their cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored (XDG Base Directory Specification).
    cache = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")
    return os.path.join(cache, "avvp_jax", "weights")


def folder_of(weights_dir: str | None) -> str:
    """A weights folder as given, or the default, made absolute. Empty is the default too.

    Raises:
      UserError: it is on cloud storage, or something else is there.
    """
    folder = absolute(weights_dir or default_folder())
    if on_cloud(folder):
        raise UserError(f"weights_dir={folder}: must be a folder on this machine")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"weights_dir={folder}: is not a folder; choose another")
    return folder


def find(published: Encoder | Pair, folder: str) -> str | None:
    """The path of a file of weights in a folder: the published names first; None without one."""
    if isinstance(published, Pair):
        others = _matching(published.others, folder)
    else:
        stem = published.names[0].rpartition("-")[0]
        others = _matching((f"{stem}.pth", f"{stem}.pt", f"{stem}-*.pt*"), folder)
        others = [name for name in others if name.endswith((".pth", ".pt"))]
    for name in (*published.names, *others):
        if os.path.lexists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return None


def find_vocabulary(stream: str, weights_dir: str | None = None) -> tuple[str, ...] | None:
    """The files of a stream's vocabulary: tokenizer.json, or vocab.json and merges.txt.

    They stand beside the weights, or in a folder that is named as their source is; None without.

    Raises:
      UserError: see folder_of.
    """
    pair, folder = PAIRS[stream], folder_of(weights_dir)
    path = find(pair, folder)
    beside = [os.path.dirname(path)] if path and pair.vocabulary_beside else []
    named = [pair.vocabulary_folder, *_matching(pair.vocabulary_folders, folder)]
    for place in (*beside, *(os.path.join(folder, name) for name in named)):
        for names in _VOCABULARIES:
            paths = tuple(os.path.join(place, name) for name in names)
            if all(map(os.path.lexists, paths)):
                return paths
    return None


def _matching(patterns: Sequence[str], folder: str) -> list[str]:
    """The names in a folder that patterns match, sorted for each pattern."""
    return [name for each in patterns for name in sorted(glob.glob(each, root_dir=folder))]
