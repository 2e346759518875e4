"""The videos of a folder."""

import os
from collections.abc import Iterable

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.left_behind import is_left_behind
from avvp_jax.storage.stand_ins import dead_link

# Endings of video files. Other files of a folder are left alone; what a file is, its content says.
ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".mpg", ".mpeg", ".ts", ".mts")
ENDINGS += (".m2ts", ".wmv", ".asf", ".3gp", ".ogv", ".vob", ".mxf")


def videos_in(folder: str | os.PathLike, *, or_none: bool = False) -> list[str]:
    """The paths of the videos in a folder and the folders below it, sorted.

    Args:
      folder: to search.
      or_none: whether it may hold no video.

    Raises:
      UserError: there is no such folder, it cannot be read, or it holds no video.
    """
    folder = os.fspath(folder)
    if problem := dead_link(folder):
        raise UserError(f"{folder}: {problem}; name the folder itself")
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: is no folder; name the folder of the videos")
    found = []
    for place, below, names in os.walk(folder, onerror=_refuse, followlinks=False):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [os.path.join(place, name) for name in names if _is_video(name)]
    if not found and not or_none:
        raise UserError(f"{folder}: holds no video; videos end in {', '.join(ENDINGS)}")
    return sorted(found)


def name_of(path: str) -> str:
    """The name of a video: that of its file, without the ending."""
    return os.path.splitext(os.path.basename(path))[0]


def named_once(paths: Iterable[str]) -> dict[str, str]:
    """Name of a video, without folder and ending -> its path.

    Raises:
      UserError: two have the same name.
    """
    named: dict[str, str] = {}
    for path in paths:
        name = name_of(path)
        if name in named:
            raise UserError(f"{path}: has the name of {named[name]}; rename or move one of them")
        named[name] = path
    return named


def _is_video(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not is_left_behind(name)


def _refuse(error: OSError) -> None:
    raise UserError(
        f"{error.filename}: cannot be read ({cause(error)}); give this process the right to"
    ) from error
