"""Opens files that may hold video and sound, and nothing beside the file that was named.

A file is opened here, and libav is given its bytes: it never gets a name, so that none can be an
address. Only containers that hold their streams themselves are known; playlists and descriptions
of streams, which would have other files opened, are not.
"""

import contextlib
import functools
import importlib
import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.storage.stand_ins import BEGINNING, dead_link, stand_in
from avvp_jax.storage.writing import on_cloud

FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,wav,mp3,aac,flac"  # libav's names
LARGEST_PICTURE = 1 << 25  # pixels; 8K has 33,177,600
NARROWEST = 50  # times as long as wide: what is narrower would grow huge when resized
LONGEST = 24 * 3600  # seconds; what claims to be longer has damaged timestamps
_BUFFER = 1 << 16
NO_MEMORY = "needs more memory than this process has or may have"
INSTALL = 'pip install "av>=15.1,<16" pillow soxr'


class MediaError(UserError):
    """A file whose video or sound cannot be used. The message is a line that names it."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")

    @classmethod
    def said(cls, line: str) -> "MediaError":
        """The error that another process had."""
        error = cls.__new__(cls)
        UserError.__init__(error, line)
        return error


@functools.cache
def library(name: str) -> Any:
    """A package that only media files need.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = {"PIL.Image": "pillow"}.get(name, name)
        raise UserError(
            f"reading videos needs the package {package} ({cause(error)}); install it by {INSTALL}"
        ) from None


class Opened(NamedTuple):
    """An open file and the streams that ffmpeg's command line would take.

    Attributes:
      path: of the file.
      container: of PyAV.
      picture: its video stream; None without.
      sound: its audio stream; None without.
      start: when its first stream starts, in microseconds.
      file: what the container reads.
    """

    path: str
    container: Any
    picture: Any
    sound: Any
    start: int
    file: BinaryIO

    def time(self, timestamp: int, time_base: Fraction) -> Fraction:
        """Seconds from the start of the file to a timestamp of a stream."""
        return (timestamp + nearest(Fraction(-self.start, 10**6) / time_base)) * time_base


def nearest(number: Fraction) -> int:
    """The nearest integer, of two the one farther from zero."""
    up = int(abs(number) + Fraction(1, 2))
    return up if number >= 0 else -up


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Opened]:
    """Opens a file as `Opened`, to be decoded by one thread.

    Raises:
      MediaError: it is no readable file of a known format, or what it holds cannot be decoded.
      UserError: PyAV is not installed.
    """
    av = library("av")
    path = os.fspath(path)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_regular_file(path))
            container = stack.enter_context(_container(file))
            yield _streams(path, container, file)
        except DamagedFile as problem:
            raise MediaError(path, str(problem)) from None
        except (MemoryError, av.error.MemoryError):
            raise MediaError(path, NO_MEMORY) from None
        except av.error.FFmpegError as error:
            raise MediaError(path, f"cannot be decoded ({cause(error)})") from None


def _regular_file(path: str) -> BinaryIO:
    """An unbuffered file; opening it never waits for anything."""
    if on_cloud(path):
        raise DamagedFile("is an address, and videos are read from this machine: copy it here")
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and (problem := dead_link(path)):
            raise DamagedFile(problem) from None
        raise DamagedFile(f"cannot be read ({cause(error)})") from None
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        os.close(number)
        if stat.S_ISREG(status.st_mode):
            raise DamagedFile("is empty")
        raise DamagedFile("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a file")
    return os.fdopen(number, "rb", buffering=0)


def _container(file: BinaryIO) -> Any:
    av = library("av")
    given = {"format_whitelist": FORMATS, "max_pixels": str(LARGEST_PICTURE)}
    try:
        return av.open(
            file, options=given, metadata_errors="replace", buffer_size=_BUFFER, io_open=_refuse
        )
    except (MemoryError, av.error.MemoryError):
        raise
    except (av.error.FFmpegError, OSError, ValueError):
        file.seek(0)
        beginning = file.read(BEGINNING)
        found = stand_in(file.name if isinstance(file.name, str) else "", beginning)
        if found and "a recording" not in found:
            raise DamagedFile(found) from None
        if beginning[4:8] == b"ftyp" or b"moov" in beginning[:64]:
            raise DamagedFile(
                "has no index of its frames, or a damaged one: it was cut off or "
                "never finished; download or record it again"
            ) from None
        raise DamagedFile(
            "is not a video of a known format (MP4, Matroska, AVI, MPEG or the "
            "like), or is damaged at its beginning"
        ) from None


def _refuse(url: str, flags: int, options: dict):
    raise PermissionError("a video must not open other files")


def _streams(path: str, container: Any, file: BinaryIO) -> Opened:
    """The streams of most channels or pixels, of those that are flagged default if any is."""
    pictures = [s for s in container.streams.video if not _flagged(s, "attached_pic")]
    sounds = list(container.streams.audio)
    for stream in (*pictures, *sounds):
        if stream.codec_context is not None:
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(LARGEST_PICTURE)}
    picture = max(pictures, key=_picture_rank, default=None)
    sound = max(sounds, key=_sound_rank, default=None)
    return Opened(path, container, picture, sound, container.start_time or 0, file)


def _flagged(stream, flag: str) -> bool:
    return bool(stream.disposition & getattr(type(stream.disposition), flag))


def _picture_rank(stream) -> int:
    known = stream.codec_context is not None
    return (
        known * 10**9
        + 5_000_000 * _flagged(stream, "default")
        + (known and (stream.width or 0) * (stream.height or 0))
    )


def _sound_rank(stream) -> int:
    known = stream.codec_context is not None
    return (
        known * 10**9
        + 5_000_000 * _flagged(stream, "default")
        + (known and stream.codec_context.channels or 0)
    )


def check_picture(opened: Opened) -> None:
    """Checks what a file says of its picture, before anything is decoded.

    Raises:
      MediaError: it has none, or one that cannot be decoded, or of a size that none has.
    """
    stream = opened.picture
    if stream is None:
        had = " and only sound" if opened.sound is not None else ""
        raise MediaError(opened.path, f"has no picture{had}")
    if stream.codec_context is None:
        raise MediaError(opened.path, "has a picture whose codec is not known")
    check_size(opened.path, stream.width or 0, stream.height or 0)


def check_sound(opened: Opened) -> None:
    """Checks that a file has sound that can be decoded.

    Raises:
      MediaError: it has none, or one that cannot be decoded.
    """
    if opened.sound is None:
        raise MediaError(opened.path, "has no sound")
    if opened.sound.codec_context is None:
        raise MediaError(opened.path, "has sound whose codec is not known")


def check_size(path: str, width: int, height: int) -> None:
    """Checks the size of a picture.

    Raises:
      MediaError: it is none, or larger or narrower than this program takes.
    """
    if width < 1 or height < 1:
        raise MediaError(
            path,
            f"has a picture of no size, or of one too large ({LARGEST_PICTURE} pixels are "
            "the limit), or a damaged one",
        )
    if width * height > LARGEST_PICTURE or max(width, height) > NARROWEST * min(width, height):
        raise MediaError(
            path,
            f"has a picture of {width}x{height} pixels, which is too large or "
            f"too narrow; {LARGEST_PICTURE} pixels and 1:{NARROWEST} are the limits",
        )
