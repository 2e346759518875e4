"""What damages media files: bits, boxes and streams that lie, and files that name others."""

import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av

from tests.media.clips import CLIPS, make, plain, tone

# Three seconds with the index behind the frames, and six with the index in front of them.
SMALL, LONG = "two_tracks", "truncated"
UNREADABLE = "unreadable"  # the mechanism that does nothing to root
READ = ""  # what is said of a file that can be used
M3U8 = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    "<AdaptationSet><Representation id='1'><BaseURL>{}</BaseURL></Representation></AdaptationSet>"
    "</Period></MPD>"
)


class Case(NamedTuple):
    """A row of the table.

    Attributes:
      mechanism: the kind of damage.
      what: it is done to.
      says: a part of the line that the user is told; READ if the file can be used all the same;
        None if either will do, as long as it is one of them.
      name: of the file.
      make: writes the file.
    """

    mechanism: str
    what: str
    says: str | None
    name: str
    make: Callable[[Path], object]

    def __str__(self) -> str:
        return f"{self.mechanism}: {self.what}"


def whole(clip: str = SMALL) -> bytes:
    return (CLIPS / f"{clip}.mp4").read_bytes()


def bytes_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def patched(kind: bytes, at: int, new: bytes, clip: str = SMALL, which: int = 0) -> bytes:
    """A clip with bytes exchanged, so many after the type of a box.

    Args:
      which: of the boxes of this type.
    """
    content, start = bytearray(whole(clip)), -1
    for _ in range(which + 1):
        start = content.index(kind, start + 1)
    begins = start + len(kind) + at
    content[begins : begins + len(new)] = new
    return bytes(content)


def flipped(seed: int, region: str) -> bytes:
    """A clip with some bits changed: of its index, its frames or both."""
    content, draw = bytearray(whole()), random.Random(seed)
    index = content.index(b"moov")
    start, end = {"index": (index, len(content)), "frames": (60, index)}[region]
    for _ in range(8 if region == "index" else 60):
        content[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
    return bytes(content)


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def nested(kind: bytes, depth: int) -> bytes:
    """Boxes within boxes."""
    size = 8 * depth
    return b"".join(u32(size - 8 * level) + kind for level in range(depth))


FTYP = u32(24) + b"ftypisom" + u32(512) + b"isommp41"


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(FTYP)
        file.truncate(1 << 42)


def joined(path: Path, factor: int) -> None:
    """Two recordings behind one another; the second begins again, or has another size."""
    sizes = [(48, 64), (48, 64)] if factor == 2 else [(48, 64), (96, 128)]
    content = b""
    for size in sizes:
        part = path.with_suffix(".part")
        make(part, [plain(size=size)] * 50, codec="mpeg2video", sound=tone(2), sound_codec="mp2",
             format="mpegts")  # fmt: skip
        content += part.read_bytes()
        part.unlink()
    path.write_bytes(content)


def headers(path: Path) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_stream("pcm_s16le", rate=16_000)
        container.start_encoding()


def beside(path: Path, name: str = "other.mp4") -> str:
    """A whole video beside the file, which must not be opened."""
    (path.parent / name).write_bytes(whole())
    return str(path.parent / name)


def reference(path: Path) -> None:
    """An MP4 whose samples are in another file, by its table of references."""
    content = bytearray(whole())
    start = content.index(b"dref") + 12
    target = beside(path).encode()[-8:]
    content[start : start + 12] = u32(12) + b"alis" + target[:4]
    path.write_bytes(bytes(content))


def bound(path: Path) -> None:
    server, home = socket.socket(socket.AF_UNIX), os.getcwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    try:
        server.bind(path.name)
    finally:
        os.chdir(home)
        server.close()
