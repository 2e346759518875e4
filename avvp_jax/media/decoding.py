"""Decoded pictures and sound of a file, as far as it goes."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from avvp_jax.media.opening import (
    LONGEST,
    MediaError,
    Opened,
    check_picture,
    check_size,
    check_sound,
    library,
)


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
      frame: of PyAV.
      time: when it is shown, in seconds from the start of the file.
    """

    frame: Any
    time: Fraction


def frames(opened: Opened, stream: Any) -> Iterator[Any]:
    """Decoded frames of a stream, as ffmpeg's command line has them.

    A packet that cannot be decoded is left out, and a file that is cut off ends where it is cut.
    """
    av = library("av")
    packets = opened.container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:  # cut off: what the decoder still has is taken
            packet = None
        try:
            yield from stream.decode(packet)
        except av.error.MemoryError:
            raise
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            pass
        if packet is None:
            return


def pictures(opened: Opened) -> Iterator[Picture]:
    """Decoded pictures in the order of the file.

    A picture without a timestamp is shown one after the one before.

    Raises:
      MediaError: the file has no picture that can be decoded, or one too large.
    """
    check_picture(opened)
    rate = rate_of(opened.picture)
    last, any_yet = None, False
    for frame in frames(opened, opened.picture):
        check_size(opened.path, frame.width, frame.height)
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            time = opened.time(stamp, frame.time_base)
        else:
            time = Fraction(0) if last is None else last + 1 / rate
        if abs(time) > LONGEST:
            continue
        last, any_yet = time, True
        yield Picture(frame, time)
    if not any_yet:
        raise MediaError(opened.path, "has a picture of which no frame can be decoded")


def rate_of(stream: Any) -> Fraction:
    """Frames a second, as libav guesses; 25 where it has no idea, as ffmpeg's command line."""
    rate = stream.guessed_rate or stream.average_rate
    return Fraction(rate) if rate and rate > 0 else Fraction(25)


def sounds(opened: Opened) -> Iterator[Any]:
    """Decoded frames of sound.

    Raises:
      MediaError: the file has no sound.
    """
    check_sound(opened)
    yield from frames(opened, opened.sound)
