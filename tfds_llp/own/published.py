"""Data sets as somebody published them: what is common to their readers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.reading import DamagedFile, read_bytes
from tfds_llp.own.cuts import LabelledClip

SPLITS = ("train", "val", "test")
# The largest published file has 3 MB.
_LARGEST = 64 << 20
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Published:
    """A data set that was read: all labels are of events that are both heard and seen.

    Attributes:
        classes: their names in order.
        splits: the clips of each split that has any.
        remarks: what is odd, a line each.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Sequence[LabelledClip]]
    remarks: Sequence[str]


def read_text(path: Path, way_out: str) -> str:
    """The text of a file.

    Raises:
        UserError: it is missing, or is no text.
    """
    try:
        return read_bytes(path, _LARGEST).decode("utf-8-sig")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; {way_out}") from None


def check_names(path: Path, videos: Iterable[str], classes: Iterable[str]) -> None:
    """Checks names before they become those of files.

    Raises:
        UserError: one of them is no YouTube id, or no name of a class.
    """
    if odd := [repr(name) for name in videos if not _ID.fullmatch(name)]:
        raise UserError(
            f"{path}: no ids of videos: {first_ten(odd)}; YouTube's have letters, digits, - and _"
        )
    if odd := [repr(name) for name in classes if name != name.strip() or not _can_name(name)]:
        raise UserError(f"{path}: no names of classes: {first_ten(odd)}; restore the published one")


def _can_name(name: str) -> bool:
    return 0 < len(name) <= 200 and name.isprintable()


def remark(what: str, names: Sequence[str]) -> list[str]:
    """A line that counts something, with examples; none if there is nothing."""
    return [f"{len(names)} {what}: {first_ten(names)}"] if names else []
