"""What a program that was compiled for a target asks of each device, and tables of it."""

import json
import pathlib
import re
import time
from collections.abc import Callable, Iterable, Mapping

import hlo
import jax
from floors import floors
from targets import Target

MIB, MS = 2**20, 1e3
Columns = Mapping[str, Callable[[dict], object]]  # title -> the cell of a row


def facts(target: Target, lowered: jax.stages.Lowered, text: pathlib.Path | None = None) -> dict:
    """Compiles a program for a target; reads what a step of it asks of each device.

    Args:
      text: where the optimised program is kept.
    """
    start = time.perf_counter()
    program = target.compile(lowered)
    taken = time.perf_counter() - start
    memory = program.memory_analysis()
    if text:
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(program.as_text())
    read = hlo.read(program.as_text())
    return {
        "compile_s": taken,
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "kernels": hlo.kernels_of_step(read),
        "bytes": hlo.bytes_of_step(read),
        "collectives": hlo.collectives(read),
        "products": hlo.product_precisions(read),
        "double": hlo.has_double_precision(read),
        "callbacks": hlo.has_callbacks(read),
    }


COLUMNS: Columns = {
    "compile s": lambda r: f"{r['compile_s']:.0f}",
    "arguments MiB": lambda r: f"{r['arguments'] / MIB:.0f}",
    "temporaries MiB": lambda r: f"{r['temporaries'] / MIB:.0f}",
    "kernels": lambda r: r["kernels"],
    "GFLOP": lambda r: f"{r['flops'] / 1e9:.2f}",
    "MB": lambda r: f"{r['bytes'] / 1e6:.0f}",
    "collectives KiB": lambda r: _listed({k: f"{x / 2**10:.0f}" for k, x in _collectives(r)}),
    "products": lambda r: ", ".join(f"{n} {name}" for name, n in sorted(r["products"].items())),
    "double, callbacks": lambda r: f"{_yes(r['double'])}, {_yes(r['callbacks'])}",
    "floor ms": lambda r: f"{MS * least(r):.3f} {_bound(r)}",
}


def least(row: dict) -> float:
    """Seconds that a step takes at least."""
    return max(row["floors"].values())


def _collectives(row: dict):
    return row["collectives"].items()


def _listed(named: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items()) or "none"


def _yes(found: bool) -> str:
    return "yes" if found else "no"


def _bound(row: dict) -> str:
    """What a step waits for longest."""
    return max(row["floors"], key=row["floors"].get)


def table(rows: Iterable[dict], columns: Columns) -> str:
    """The rows as a table for a page of documentation."""
    titles = "| " + " | ".join(columns) + " |"
    return "\n".join([titles, "|" + "---|" * len(columns), *(line(row, columns) for row in rows)])


def line(row: dict, columns: Columns) -> str:
    """One row of a table."""
    return "| " + " | ".join(str(cell(row)) for cell in columns.values()) + " |"


class Rows:
    """Rows by what tells them apart, kept in a JSON file as soon as they are known.

    Args:
      names: of the entries that tell rows apart.
      path: of the file; its rows are there from the beginning. None keeps nothing.
      texts: a folder for programs as text, or None.
    """

    def __init__(
        self, names: tuple[str, ...], path: pathlib.Path | None, texts: pathlib.Path | None
    ):
        self.names, self.path, self.texts = names, path, texts
        there = json.loads(path.read_text()) if path and path.exists() else []
        self.by_key = {self.key(row): row for row in there}

    def key(self, row: dict) -> tuple:
        return tuple(row[name] for name in self.names)

    def text_of(self, row: dict) -> pathlib.Path | None:
        """Where a row's program goes."""
        name = re.sub(r"[^\w.]+", "-", " ".join(map(str, self.key(row))))
        return self.texts and self.texts / f"{name}.txt"

    def add(self, row: dict) -> None:
        self.by_key[self.key(row)] = row

    def all(self) -> list[dict]:
        return [*self.by_key.values()]

    def save(self) -> None:
        if self.path:
            self.path.write_text(json.dumps(self.all(), indent=1) + "\n")


def add_floors(rows: Iterable[dict]) -> None:
    """Adds to each row the least time of a step by what bounds it."""
    for row in rows:
        row["floors"] = floors(row["target"], row)
