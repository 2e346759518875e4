"""Recognises what lies in a file's place: a web page, an error message, a pointer, a dead link.

Downloads that need a click or a login, and clones without their large files, leave such files
under the right names.
"""

import html
import json
import os
import re
from pathlib import Path

# How much of a file is looked at. The title of a web page stands near its beginning.
BEGINNING = 1 << 15
_LONGEST_SHOWN = 80
_PAGE = re.compile(r"<!doctype html|<html|<head|<body|<script|<meta|<title", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_LARGE_FILE_POINTER = re.compile(r"version https?://\S+/spec/v\S*\s[^\0]*\boid \w+:", re.DOTALL)
_REFUSAL = re.compile(
    r"not found|denied|forbidden|unauthori[sz]ed|invalid|expired|gated|restricted|quota|too many"
    r"|rate limit|unavailable|log ?in|error|moved|redirect|bad (request|gateway)|time(d )?-?out"
    r"|no such",
    re.IGNORECASE,
)
# How files of other formats begin, and where -> what they are. Pickles, .npy and zip are ours too.
_FORMATS = {
    (0, b"\x1f\x8b"): "a gzip archive",
    (0, b"7z\xbc\xaf\x27\x1c"): "a 7z archive",
    (0, b"Rar!\x1a\x07"): "a rar archive",
    (0, b"\xfd7zXZ\0"): "an xz archive",
    (0, b"\x28\xb5\x2f\xfd"): "a zstd archive",
    (257, b"ustar"): "a tar archive",
    (0, b"\x89HDF\r\n\x1a\n"): "an HDF5 file",
    (0, b"MATLAB 5.0 MAT-file"): "a MATLAB file",
    (0, b"\x89PNG\r\n\x1a\n"): "a picture",
    (0, b"\xff\xd8\xff"): "a picture",
    (0, b"%PDF-"): "a PDF",
    (0, b"RIFF"): "a recording",
    (4, b"ftyp"): "a recording",
}
_ZIP = b"PK\3\4"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
_NEVER_ZIP = (".npy", ".csv", ".txt")
# Words of a page -> how its file is downloaded instead.
_DOWNLOADS = {
    "drive.google": "in a browser, past Google's warning, or with gdown",
    "google drive": "in a browser, past Google's warning, or with gdown",
    "hugging face": "by its /resolve/ link, with the account that may read it",
    "huggingface": "by its /resolve/ link, with the account that may read it",
    "github": "by the page's Raw or Download button",
}


def stand_in(path: str | os.PathLike, beginning: bytes) -> str | None:
    """What a file is instead of what its name says, and the way out; None if it may be that.

    Args:
      path: of the file; what is named .json may hold an object.
      beginning: its first BEGINNING bytes, or all if it has fewer.

    Returns:
      Words that can follow the file's name.
    """
    suffix = Path(os.fspath(path)).suffix
    if suffix == ".csv" and beginning.startswith((_ZIP, _OLD_WORKBOOK)):
        return "is a spreadsheet's workbook, or an archive: save the table in it as text (csv)"
    if found := _other_format(beginning, suffix):
        way = "unpack it" if "archive" in found else "put the file itself there"
        return f"is {found}, whatever its name says: {way}"
    text = _text(beginning)
    if not text:
        return None
    if text.startswith("<"):
        return _markup(text)
    if _LARGE_FILE_POINTER.match(text):
        return "is a Git LFS pointer, not the file itself: run git lfs pull where it was cloned"
    if text[0] in "{[" and suffix == ".json":
        return None
    if text[0] in "{[" and (said := _message_in_json(text)) is not None:
        return f"is a server's message{_quoted(said)}, not the file itself: download it again"
    return None if "\n" in text or "\t" in text else _line(text, suffix)


def dead_link(path: str | os.PathLike) -> str | None:
    """Says so if a path, or a folder that it is in, is a link that leads nowhere; else None.

    Returns:
      Words that can follow the path.
    """
    path = os.path.abspath(os.fspath(path))
    for each in (path, *map(str, Path(path).parents)):
        target = _lost_target(each)
        if target is None:
            continue
        says = f"a link to {target}, which is not there"
        if "annex/objects/" in target:
            says += " (run git annex get on it)"
        return f"is {says}" if each == path else f"is in {each}, {says}"
    return None


def _lost_target(path: str) -> str | None:
    """What a link names, if nothing is there; None of anything else, and of a loop of links."""
    try:
        if os.path.islink(path):
            os.stat(path)
    except FileNotFoundError:
        return os.readlink(path)
    except (OSError, ValueError):  # a loop, no rights, a NUL in the name
        pass
    return None


def _other_format(beginning: bytes, suffix: str) -> str | None:
    """The format of an archive or the like, by its first bytes."""
    if beginning.startswith(_ZIP) and suffix in _NEVER_ZIP:
        return "a zip archive"
    for (start, magic), format_ in _FORMATS.items():
        if beginning[start : start + len(magic)] == magic:
            return format_
    return None


def _text(beginning: bytes) -> str | None:
    """The bytes as text, without a byte order mark and white space around; None of binary files."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return beginning.decode("utf-16", "ignore").strip()
    if b"\0" in beginning:
        return None
    return beginning.decode("utf-8-sig", "replace").strip()


def _markup(text: str) -> str | None:
    if _PAGE.search(text[:1024]):
        title = _TITLE.search(text)
        title = html.unescape(title[1]) if title else ""
        ways = [way for word, way in _DOWNLOADS.items() if word in text.lower()]
        way = ways[0] if ways else "in a browser, and log in if it asks for that"
        return f"is a web page{_quoted(title)}, not the file itself: download it again {way}"
    if not re.match(r"<[?!A-Za-z]", text):
        return None
    found = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message"))
    said = ": ".join(html.unescape(each[1]) for each in found if each)
    what = f"a server's message{_quoted(said)}" if said else "an XML text"
    return f"is {what}, not the file itself: download it again"


def _message_in_json(text: str) -> str | None:
    """What a server says in a JSON text; None if the text is not JSON."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        # A long text is cut off.
        return "" if re.match(r'\{\s*"|\[\s*[\[{"]', text) else None
    for key in ("error", "errors", "message", "detail", "error_description"):
        said = said[0] if isinstance(said, list) and said else said
        if isinstance(said, dict) and key in said:
            said = said[key]
    return said if isinstance(said, str) else text


def _line(text: str, suffix: str) -> str | None:
    """What a file of one line is, if that is a path or a server's message."""
    if "annex/objects/" in text:
        return "is a git-annex pointer, not the file itself: run git annex get on it"
    named = bool(suffix) and text.endswith(suffix)
    rooted = re.match(r"\.{0,2}[/\\]|[A-Za-z]:[/\\]", text)
    if text.isprintable() and (named or rooted or re.fullmatch(r"[^\s/\\]+[/\\]\S+", text)):
        return (
            f"holds only the path{_quoted(text)}, as git leaves a link where it makes none: put "
            "the file itself there"
        )
    if len(text) <= 300 and text.isprintable() and _REFUSAL.search(text):
        return f"is a server's message{_quoted(text)}, not the file itself: download it again"
    return None


def _quoted(text: str) -> str:
    """Text in brackets and on one line, shortened; nothing if there is none."""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return f" ({text})" if text else ""
