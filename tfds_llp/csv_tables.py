"""Tab-separated tables with a header line, the format of the annotation files."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.reading import DamagedFile, read_bytes

# The largest published file has 0.4 MB.
_LARGEST_FILE = 64 << 20


def read_table(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Reads the named columns, one tuple per row; blank lines are skipped.

    Raises:
        UserError: the file is missing, unreadable, not UTF-8 text, lacks a column or has no
            rows.
    """
    reader = csv.reader(
        io.StringIO(_read_text(path), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise UserError(
            f"{path}: line {reader.line_num} is not tab separated text ({error}); restore it"
        ) from None
    if not lines:
        raise UserError(f"{path}: the file is empty; restore the published one")
    header = lines[0][1]
    missing = [column for column in columns if header.count(column) != 1]
    if missing:
        raise UserError(
            f"{path}: the header line (tab separated) must name each of the columns "
            f"{', '.join(columns)} once; wrong: {', '.join(missing)}"
        )
    if len(lines) == 1:
        raise UserError(f"{path}: nothing below the header line; restore the published file")
    wrong = [str(number) for number, line in lines[1:] if len(line) != len(header)]
    if wrong:
        raise UserError(
            f"{path}: lines that do not have the header's {len(header)} columns: {first_ten(wrong)}"
        )
    places = [header.index(column) for column in columns]
    return [tuple(line[place] for place in places) for _, line in lines[1:]]


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, _LARGEST_FILE).decode("utf-8-sig")
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
