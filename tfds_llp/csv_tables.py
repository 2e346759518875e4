"""Tables with a header line, the format of the annotation files: tab-separated as published.

A spreadsheet saves them otherwise: separated by commas or semicolons, lists in quotes, a
byte-order mark in front, separators behind each line, empty lines below. That is read as meant.
"""

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.reading import DamagedFile, read_bytes

# The largest published file has 0.4 MB.
LARGEST_TABLE = 64 << 20
_SEPARATORS = ("\t", ",", ";")


def read_table(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Reads the named columns, one tuple per row; lines without content are skipped.

    Cells come without the spaces around them.

    Raises:
        UserError: the file is missing, unreadable, not UTF-8 text, lacks a column or has no
            rows.
    """
    lines = _filled_lines(_read_text(path))
    if not lines:
        raise UserError(f"{path}: the file is empty; restore the published one")
    separator = _separator(lines[0][1], columns)
    header, *rows = (
        (number, _without_empty_end(_cells(path, number, line, separator)))
        for number, line in lines
    )
    names = header[1]
    missing = [column for column in columns if names.count(column) != 1]
    if missing:
        raise UserError(
            f"{path}: the header line (separated by tabs) must name each of the columns "
            f"{', '.join(columns)} once; wrong: {', '.join(missing)}"
        )
    if separator == "," and names.index(columns[-1]) < len(names) - 1:
        raise UserError(
            f"{path}: lists in {columns[-1]} cannot be told from the columns behind it; put it "
            "last, or separate columns by tabs"
        )
    if not rows:
        raise UserError(f"{path}: nothing below the header line; restore the published file")
    wrong = [str(number) for number, row in rows if not _reach(names, columns, row)]
    if wrong:
        raise UserError(
            f"{path}: lines that do not have the header's {len(names)} columns: {first_ten(wrong)}"
        )
    places = [names.index(column) for column in columns]
    return [tuple(row[place] for place in places) for _, row in rows]


def _filled_lines(text: str) -> list[tuple[int, str]]:
    """The lines with more than separators, and their numbers from 1."""
    lines = enumerate(re.split("\r\n|\r|\n", text), 1)
    filled = [(number, line) for number, line in lines if line.strip(' \t,;"')]
    # Some spreadsheets say first what separates columns.
    return filled[1:] if filled and re.fullmatch('"?sep=.?"?', filled[0][1]) else filled


def _separator(header: str, columns: tuple[str, ...]) -> str:
    """What the header line separates the columns with; the published tab if nothing fits."""
    for separator in _SEPARATORS:
        if set(columns) <= {name.strip(' "') for name in header.split(separator)}:
            return separator
    return "\t"


def _cells(path: Path, number: int, line: str, separator: str) -> list[str]:
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise UserError(
            f"{path}: line {number} cannot be cut into columns ({error}); restore it"
        ) from None
    return [cell.strip() for cell in cells]


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _reach(names: list[str], columns: tuple[str, ...], row: list[str]) -> bool:
    """Whether a row has all of the columns, and nothing beyond the header line."""
    return max(map(names.index, columns)) < len(row) <= len(names)


def _read_text(path: Path) -> str:
    try:
        content = read_bytes(path, LARGEST_TABLE)
        # What spreadsheets call Unicode text.
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if marked else "utf-8").lstrip("\ufeff")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; put the published csv file there") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def write_table(path: Path, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    """Writes a table that `read_table` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
