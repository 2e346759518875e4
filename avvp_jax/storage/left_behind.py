"""Names of files and folders that systems and programs leave among a user's own."""

import os

# Of macOS, Windows, network disks, and archives; compared in lower case.
_NAMES = frozenset(
    "thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini icon\r __macosx @eadir $recycle.bin "
    "lost+found".split(" ")
)
_NAMES |= {"system volume information"}
# Hidden files: .DS_Store, ._NAME of macOS, .NAME.XXXXXX of rsync, .ipynb_checkpoints, .nfs...
# Then locks of office programs, and what Syncthing has not finished.
_BEGINNINGS = (".", "~$", "~syncthing~")


def is_left_behind(name: str) -> bool:
    """Whether a name is surely no user's: hidden, or one that a system gives.

    A browser's second copy, NAME (1).npy, may be meant.
    """
    return name.startswith(_BEGINNINGS) or name.lower() in _NAMES


def own_names(folder: str | os.PathLike) -> list[str]:
    """The names in a folder, sorted, without those left behind; none if it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if not is_left_behind(name))
    except (OSError, ValueError):
        return []
