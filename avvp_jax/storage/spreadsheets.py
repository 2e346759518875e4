"""Reads numbers from a spreadsheet (.xlsx) of unknown origin, and writes such a file.

It is a zip archive of XML (ECMA-376), of which nothing is run. Sizes are bounded before anything is
unpacked, and XML that declares a document type, which alone may define entities, is refused.
"""

import io
import math
import os
import posixpath
import re
import zipfile
from collections.abc import Sequence
from xml.etree import ElementTree

from avvp_jax.errors import cause
from avvp_jax.storage.reading import DamagedFile, read_bytes
from avvp_jax.storage.writing import write_whole

LARGEST = 4 << 20  # bytes of the file, and of each part of it unpacked
MOST_MEMBERS = 1000
MOST_ROWS = 10_000
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The parts of a spreadsheet with one sheet, and what they say of each other.
_OPEN = "http://schemas.openxmlformats.org"
_MAIN, _PACKAGE = f"{_OPEN}/spreadsheetml/2006/main", f"{_OPEN}/package/2006"
_RELATIONS = f"{_OPEN}/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS = {
    "[Content_Types].xml": f'''<Types xmlns="{_PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>
</Types>''',
    "_rels/.rels": f'''<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/>
</Relationships>''',
    "xl/_rels/workbook.xml.rels": f'''<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>
</Relationships>''',
    "xl/workbook.xml": f'''<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">
<sheets><sheet name="SHEET" sheetId="1" r:id="rId1"/></sheets>
</workbook>''',
    "xl/worksheets/sheet1.xml": f'''<worksheet xmlns="{_MAIN}"><sheetData>
ROWS
</sheetData></worksheet>''',
}


def read_column(path: str | os.PathLike, sheet: str) -> list[float]:
    """The numbers in column A of a sheet, from its first row on, without gaps.

    Raises:
      DamagedFile: it is no such spreadsheet; says why, in words that can follow the file's name.
    """
    content = read_bytes(path, LARGEST)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > MOST_MEMBERS:
                raise DamagedFile("has too many parts for a spreadsheet")
            return _column(_parsed(archive, _place_of(archive, sheet)))
    # zipfile and expat raise many kinds of exception on damaged files.
    except DamagedFile:
        raise
    except Exception as error:
        raise DamagedFile(f"is no readable spreadsheet ({cause(error)})") from None


def write_column(path: str | os.PathLike, sheet: str, numbers: Sequence[float]) -> None:
    """Writes a spreadsheet with one sheet, whose column A has these numbers.

    Args:
      sheet: its name, of letters.

    Raises:
      OSError: it cannot be written.
    """
    cells = enumerate(map(repr, map(float, numbers)), 1)
    rows = [f'<row r="{row}"><c r="A{row}"><v>{number}</v></c></row>' for row, number in cells]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in _PARTS.items():
            text = part.replace("SHEET", sheet).replace("ROWS", "\n".join(rows))
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>\n' + text)
    write_whole(path, content.getvalue())


def _parsed(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    """A part of the archive as XML."""
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise DamagedFile(f"is no spreadsheet: it lacks {name!r:.80}") from None
    if member.compress_type not in _COMPRESSIONS or member.file_size > LARGEST:
        raise DamagedFile(f"has a part that is too large, or packed in another way: {name!r:.80}")
    with archive.open(member) as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise DamagedFile(f"has a part that is larger than it says: {name!r:.80}")
    # In UTF-8 alone, so that the words below cannot be written in another way.
    if re.search(r"<!(DOCTYPE|ENTITY)", text.decode("utf-8"), re.IGNORECASE):
        raise DamagedFile("declares a document type, as no spreadsheet does")
    if b"\0" in text:
        raise DamagedFile("is no spreadsheet in UTF-8")
    return ElementTree.fromstring(text)


def _place_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """The part of the archive that is the sheet of a name."""
    sheets = [x for x in _parsed(archive, "xl/workbook.xml").iter() if _tag(x) == "sheet"]
    wanted = [x.get(_RELATION) for x in sheets if x.get("name") == sheet]
    if not wanted:
        there = ", ".join(f"{x.get('name')!r:.40}" for x in sheets[:10])
        raise DamagedFile(f"has no sheet {sheet}; there is {there or 'none'}")
    for relation in _parsed(archive, "xl/_rels/workbook.xml.rels").iter():
        if relation.get("Id") == wanted[0] and relation.get("Target"):
            return posixpath.normpath(posixpath.join("/xl", relation.get("Target")))[1:]
    raise DamagedFile(f"does not say where its sheet {sheet} is")


def _column(root: ElementTree.Element) -> list[float]:
    found = {}
    for cell in (x for x in root.iter() if _tag(x) == "c"):
        place = re.fullmatch(r"A([1-9][0-9]{0,5})", cell.get("r", ""))
        value = next((x.text for x in cell if _tag(x) == "v"), None)
        if place is None or value is None:
            continue
        if cell.get("t", "n") != "n" or not math.isfinite(number := float(value)):
            raise DamagedFile(f"has no number in cell {place[0]}")
        if int(place[1]) in found:
            raise DamagedFile(f"has cell {place[0]} twice")
        found[int(place[1])] = number
    if not found or len(found) > MOST_ROWS or set(found) != set(range(1, len(found) + 1)):
        raise DamagedFile("has no numbers in column A, or gaps between them")
    return [found[row] for row in sorted(found)]


def _tag(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]
