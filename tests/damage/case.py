"""One damaged input: where it gets in, what is wrong with it, and what must be said of it."""

import dataclasses
import pathlib
from collections.abc import Callable

from tests.damage.place import Place

# What to put in a file's place: its content, or what writes something there.
Damage = bytes | Callable[[pathlib.Path], object]


@dataclasses.dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
      surface: builder files, annotations, configs and flags, checkpoints, or artefacts.
      mechanism: the kind of damage.
      what: it is done to.
      says: parts of the line that the user is told: which file or key, and what of it.
      make: does the damage in a place, and returns the command's arguments.
      launched: it is tried in a process of its own too.
    """

    surface: str
    mechanism: str
    what: str
    says: tuple[str, ...]
    make: Callable[[Place], list[str]]
    launched: bool = False

    def __str__(self) -> str:
        return f"{self.surface}: {self.mechanism}: {self.what}"


def put(path: pathlib.Path, damage: Damage) -> None:
    """Damages a file, or makes a damaged one; what a hard link shares stays as it is."""
    if path.is_file():
        path.unlink()
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        damage(path)
