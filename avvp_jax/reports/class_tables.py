"""Tables with a row for each class: as text, and stored for the page of a run."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from etils import epath

from avvp_jax.errors import cause, warn
from avvp_jax.reports.tables import plain_table
from avvp_jax.storage.reading import DamagedFile, read_bytes
from avvp_jax.storage.writing import write_lines

ENDING = ".table.json"
FORMS = ("d", ".1f", ".3f")
_PLACES = (f"*/*{ENDING}", f"*/seeds_*/*{ENDING}")
_LARGEST, _LONGEST = 1 << 20, 3000


@dataclass(frozen=True)
class ClassTable:
    """Numbers of each class, in columns.

    Attributes:
      title: what the numbers are; the corner of the table.
      caption: what they mean, in a sentence or two for people who are new to the method.
      classes: the names of the classes.
      columns: name -> one number for each class, NaN where there is none.
      form: of the numbers, one of FORMS.
      total: the name of a last row, of all classes; empty for none.
      totals: the numbers of that row, one for each column.
    """

    title: str
    caption: str
    classes: Sequence[str]
    columns: Mapping[str, Sequence[float] | np.ndarray]
    form: str
    total: str = ""
    totals: Sequence[float] = field(default=())

    def text(self) -> str:
        """The table for the terminal; "-" where there is no number."""
        columns = [np.asarray(column).tolist() for column in self.columns.values()]
        rows = {name: [column[i] for column in columns] for i, name in enumerate(self.classes)}
        if self.total:
            rows[self.total] = list(self.totals)
        return plain_table(self.title, list(self.columns), rows, self.form)

    def write(self, path: str) -> None:
        """Writes the table as JSON, atomically; its name should end in ENDING."""
        record = {
            "title": self.title,
            "caption": self.caption,
            "classes": list(self.classes),
            "columns": {name: _stored(column) for name, column in self.columns.items()},
            "form": self.form,
            "total": self.total,
            "totals": _stored(self.totals),
        }
        write_lines(path, [json.dumps(record, indent=1)])


def beside(path: str) -> str:
    """The path of the table of an artefact: that of the artefact, with another ending."""
    return os.path.splitext(path)[0] + ENDING


def read_table(path: str | os.PathLike) -> ClassTable:
    """Reads a table that `write` wrote.

    Raises:
      DamagedFile: it holds none.
    """
    try:
        record = json.loads(read_bytes(path, _LARGEST))
        texts = [record[name] for name in ("title", "caption", "form", "total")]
        classes, columns = record["classes"], record["columns"]
        good = all(isinstance(x, str) and len(x) < _LONGEST for x in (*texts, *classes, *columns))
        good = good and texts[2] in FORMS and bool(columns)
        numbers = {name: _numbers(column) for name, column in columns.items()}
        totals = _numbers(record["totals"])
        good = good and all(len(column) == len(classes) for column in numbers.values())
        good = good and len(totals) == (len(columns) if texts[3] else 0)
    # RecursionError: brackets nested too deeply. OverflowError: an integer beyond any float.
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, OverflowError):
        good = False
    if not good:
        raise DamagedFile("holds no table of classes")
    title, caption, form, total = texts
    return ClassTable(title, caption, tuple(classes), numbers, form, total, totals)


def tables_in(workdir: str) -> dict[str, ClassTable]:
    """The tables in the folders of a work directory, by their paths there, in order.

    A damaged one is left out, with a warning.
    """
    found, root = {}, epath.Path(workdir)
    try:
        paths = sorted(path for place in _PLACES for path in root.glob(place))
    except OSError as error:
        warn(f"{workdir}: cannot be searched ({cause(error)}); the page lacks tables of classes")
        return {}
    for path in paths:
        try:
            found[str(path.relative_to(root))] = read_table(path)
        except DamagedFile as problem:
            warn(f"{path}: {problem}; left out of the page")
    return found


def _stored(numbers: Sequence[float] | np.ndarray) -> list:
    """Numbers as JSON has them: NaN is null."""
    return [None if math.isnan(x) else x for x in np.asarray(numbers).tolist()]


def _numbers(stored: Sequence) -> list[float]:
    if not isinstance(stored, list) or any(isinstance(x, bool | str) for x in stored):
        raise ValueError("no numbers")
    numbers = [math.nan if x is None else x for x in stored]
    if any(math.isinf(float(x)) for x in numbers):
        raise ValueError("no finite numbers")
    return numbers
