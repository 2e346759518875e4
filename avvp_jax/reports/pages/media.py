"""Videos in pages: where a browser finds them, and short ones as part of the page."""

import mimetypes
import os
import stat
import urllib.parse
from dataclasses import dataclass, field

from avvp_jax.errors import UserError, cause
from avvp_jax.media import opening
from avvp_jax.reports.pages.page import encoded
from avvp_jax.storage.writing import on_cloud

LONGEST = 60.0  # seconds of a video that is embedded
LARGEST = 20 << 20  # bytes of one
MOST = 200 << 20  # bytes of all in a page


def sources(path: str, folder: str | os.PathLike) -> list[str]:
    """Addresses of a file for a page in a folder, the best first.

    Relative where both are below a common folder on one disk: then they may be moved together.
    And absolute, should the page be opened by way of a link.
    """
    absolute = "file://" + urllib.parse.quote(os.fsencode(path))
    if on_cloud(folder):
        return [absolute]
    folder = os.path.abspath(folder)
    together = os.path.commonpath([folder, path]) != os.path.sep
    if not together or not _same_disk(path, folder):
        return [absolute]
    return [urllib.parse.quote(os.fsencode(os.path.relpath(path, folder))), absolute]


def _same_disk(path: str, folder: str) -> bool:
    """Whether a file and a folder are on one disk; of a file that is gone, where it was counts."""
    try:
        place = path
        while not os.path.exists(place):
            place = os.path.dirname(place)
        return os.stat(place).st_dev == os.stat(folder).st_dev
    except (OSError, ValueError):
        return False


@dataclass
class Embedded:
    """The videos that become part of a page.

    Attributes:
      blocks: for write_page, by id.
      linked: the titles of those that do not, with why.
    """

    blocks: dict[str, str] = field(default_factory=dict)
    linked: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    _known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, title: str, path: str, duration: float) -> tuple[str, str] | None:
        """Embeds a video: the id of its block and its type. None, with a note, if it may not be."""
        content = None
        if duration > LONGEST:
            reason = f"longer than {LONGEST:g} s"
        elif path in self._known:  # parsed twice: by a parser, and by teachers
            return self._known[path]
        else:
            content, reason = self._read(path)
        if content is None:
            self.linked.append((title, reason))
            return None
        self.size += len(content)
        name = f"media-{len(self.blocks)}"
        self.blocks[name] = encoded(content)
        self._known[path] = name, mimetypes.guess_type(path)[0] or ""
        return self._known[path]

    def _read(self, path: str) -> tuple[bytes | None, str]:
        try:
            # A pipe in its place would be waited for. The path may be what a file of another's
            # making says, and the page be sent away: only media become part of it.
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                return None, "no file"
            if status.st_size > LARGEST:
                return None, f"more than {LARGEST >> 20} MB"
            if self.size + status.st_size > MOST:
                return None, f"beyond the {MOST >> 20} MB that a page may hold"
            with opening.opened(path):
                pass
            with open(path, "rb") as file:
                return file.read(LARGEST + 1)[:LARGEST], ""
        except UserError:
            return None, "no media, or damaged"
        except (OSError, ValueError) as error:
            return None, f"cannot be read: {cause(error)}"
