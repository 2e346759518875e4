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
MOST_ROWS = 1_000_000
_SEPARATORS = ("\t", ",", ";")


def read_table(
    path: Path,
    columns: tuple[str, ...],
    *,
    optional: tuple[str, ...] = (),
    blank: tuple[str, ...] = (),
    way_out: str = "restore the published file",
) -> list[tuple[str, ...]]:
    """Reads the named columns, one tuple per row; lines without content are skipped.

    Cells come without the spaces around them.

    Args:
        path: of the file.
        columns: those that it must have; lists may be in the last.
        optional: more columns, which come behind the others, empty where they are not there.
        blank: which of `columns` may be empty in a row.
        way_out: what to do if the file is of no use.

    Raises:
        UserError: the file is missing, unreadable, not UTF-8 text, too long, lacks a column or
            has no rows.
    """
    lines = _filled_lines(path, _read_text(path, way_out))
    if not lines:
        raise UserError(f"{path}: the file is empty; {way_out}")
    separator = _separator(lines[0][1], columns)
    header, *rows = (
        (number, _without_empty_end(_cells(path, number, line, separator)))
        for number, line in lines
    )
    names = header[1]
    _check_header(path, names, separator, columns, optional)
    if not rows:
        raise UserError(f"{path}: nothing below the header line; {way_out}")
    needed = max(names.index(column) for column in columns if column not in blank)
    wrong = [str(number) for number, row in rows if not needed < len(row) <= len(names)]
    if wrong:
        lists = " (a list with commas needs double quotes around it)" * (separator == ",")
        raise UserError(
            f"{path}: lines that do not have the header's {len(names)} columns: "
            f"{first_ten(wrong)}{lists}"
        )
    places = [names.index(x) if x in names else len(names) for x in (*columns, *optional)]
    filled = (row + [""] * (len(names) + 1 - len(row)) for _, row in rows)
    return [tuple(row[place] for place in places) for row in filled]


def _check_header(
    path: Path,
    names: list[str],
    separator: str,
    columns: tuple[str, ...],
    optional: tuple[str, ...],
) -> None:
    wrong = [column for column in columns if names.count(column) != 1]
    wrong += [column for column in optional if names.count(column) > 1]
    if wrong:
        raise UserError(
            f"{path}: the header line (separated by tabs, commas or semicolons) must name each of "
            f"the columns {', '.join(columns)} once; wrong: {', '.join(wrong)}"
        )
    behind = set(names[names.index(columns[-1]) + 1 :]) - {*columns, *optional}
    if separator == "," and behind:
        raise UserError(
            f"{path}: lists in {columns[-1]} cannot be told from the columns behind it; put it "
            "last, or separate columns by tabs"
        )


def _filled_lines(path: Path, text: str) -> list[tuple[int, str]]:
    """The lines with more than separators, and their numbers from 1."""
    if max(map(text.count, "\r\n")) > MOST_ROWS:
        raise UserError(f"{path}: has more than {MOST_ROWS} lines, which is the limit; shorten it")
    lines = enumerate(re.split("\r\n|\r|\n", text), 1)
    filled = [(number, line) for number, line in lines if line.strip(' \t,;"')]
    # Some spreadsheets say first what separates columns.
    return filled[1:] if filled and re.fullmatch('"?sep=.?"?', filled[0][1]) else filled


def _separator(header: str, columns: tuple[str, ...]) -> str:
    """What the header line separates the columns with; the published tab if nothing fits."""

    def known(separator: str) -> int:
        return len({name.strip(' "') for name in header.split(separator)} & set(columns))

    return max(_SEPARATORS, key=known)  # the first of equals


def _cells(path: Path, number: int, line: str, separator: str) -> list[str]:
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise UserError(
            f"{path}: line {number} cannot be cut into columns ({error}); see to its double "
            "quotes, or restore the file"
        ) from None
    return [cell.strip() for cell in cells]


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _read_text(path: Path, way_out: str) -> str:
    try:
        content = read_bytes(path, LARGEST_TABLE)
        # What spreadsheets call Unicode text.
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if marked else "utf-8").lstrip("\ufeff")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def write_table(path: Path, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    """Writes a table that `read_table` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
