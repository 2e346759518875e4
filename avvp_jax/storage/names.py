"""Names of videos, which become names of files on any system."""

import re
import unicodedata

LONGEST_NAME = 200  # bytes; file systems take 255, with endings and what a half file is called
# What Windows takes for a device, whatever ending it has.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


def normal(name: str) -> str:
    """A name in the one form of its letters (NFC): a Mac stores an accent beside its letter."""
    return unicodedata.normalize("NFC", name)


def no_name(name: str, longest: int = LONGEST_NAME) -> str | None:
    """Why a text cannot be the name of a video, in words that can follow it; None if it can.

    Args:
      longest: the most bytes that it may have.
    """
    if not name:
        return "is empty"
    # U+FFFD is what stands for bytes that were no text.
    if not name.isprintable() or "\ufffd" in name:
        return "has signs that cannot be printed"
    if "/" in name or "\\" in name or _DRIVE.match(name):
        return "names a folder"
    if name.startswith("."):
        return "is that of a hidden file"
    if name != name.strip():
        return "begins or ends with a space"
    if _DEVICE.fullmatch(name):
        return "is that of a device"
    if len(name.encode()) > longest:
        return f"has more than {longest} bytes"
    return None
