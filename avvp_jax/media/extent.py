"""How long a file is, by what is in it and by what it says."""

import os
import struct
from collections import defaultdict
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from avvp_jax.media.decoding import rate_of
from avvp_jax.media.opening import LONGEST, MediaError, Opened, library

_CUT = 0.5  # seconds that a whole file may lack of what its header promises
_PARENTS = (b"moov", b"trak", b"mdia")


class Extent(NamedTuple):
    """How long a file is.

    Attributes:
      picture: seconds until its last picture ends; 0 without any.
      sound: seconds until its sound ends; 0 without any.
      claimed: seconds that its header promises, as FFmpeg 4 prints them, to a hundredth.
      cut_off: whether it ends long before.
    """

    picture: float
    sound: float
    claimed: float
    cut_off: bool

    @property
    def seconds(self) -> float:
        return max(self.picture, self.sound)


def said(opened: Opened) -> float:
    """How many seconds a file says that it has; 0 if it says nothing that can be true."""
    seconds = (opened.container.duration or 0) / 10**6
    return seconds if 0 < seconds < LONGEST else 0.0


def measured(opened: Opened) -> Extent:
    """Reads a file to its end without decoding it. Its container cannot be used afterwards.

    Raises:
      MediaError: its timestamps span more than a day.
    """
    ends: dict[Any, Fraction] = defaultdict(Fraction)
    sums: dict[Any, Fraction] = defaultdict(Fraction)
    av = library("av")
    streams = [s for s in (opened.picture, opened.sound) if s is not None]
    steps = {s: 1 / rate_of(s) if s.type == "video" else Fraction(0) for s in streams}
    cut_off = False
    try:
        for packet in opened.container.demux(streams) if streams else ():
            if packet.size == 0:
                continue
            stream, lasts = packet.stream, packet.duration or 0
            lasts = lasts * packet.time_base if lasts > 0 else steps[stream]
            sums[stream] += lasts
            stamp = packet.pts if packet.pts is not None else packet.dts
            begins = sums[stream] - lasts
            if stamp is not None:
                begins = opened.time(stamp, packet.time_base)
            ends[stream] = max(ends[stream], begins + lasts)
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError:
        cut_off = True
    picture, sound = (float(ends.get(s, 0)) for s in (opened.picture, opened.sound))
    if max(picture, sound) > LONGEST:
        raise MediaError(
            opened.path,
            f"has timestamps up to {max(picture, sound):.0f} s; {LONGEST} s are the limit, and "
            "its timestamps may be damaged: cut it, or remux it",
        )
    claimed = _claimed(opened, max(sums.values(), default=Fraction(0)))
    cut_off = cut_off or max(picture, sound) < claimed - _CUT
    return Extent(picture, sound, claimed, cut_off)


def _claimed(opened: Opened, packets: Fraction) -> float:
    """The `Duration:` that FFmpeg 4 prints.

    Of an MP4 it is that of the longest track, whose start FFmpeg 7 no longer counts; of others it
    is in the header, or the sum of the packets.
    """
    seconds = Fraction(0)
    if "mp4" in opened.container.format.name:
        seconds = longest_track(opened.file)
    elif opened.container.duration:
        seconds = Fraction(opened.container.duration, 10**6)
    if not 0 < seconds < LONGEST:
        seconds = packets
    return (int(seconds * 10**6) + 5000) // 10_000 / 100


def longest_track(file: BinaryIO) -> Fraction:
    """The longest duration that the tracks of an MP4 say they have (`mdhd`), in seconds."""
    longest = Fraction(0)
    regions = [(0, os.fstat(file.fileno()).st_size)]
    left = 10_000  # boxes; an MP4 has some hundred
    while regions:
        start, end = regions.pop()
        while start + 8 <= end and (left := left - 1) > 0:
            file.seek(start)
            size, kind = struct.unpack(">I4s", file.read(8))
            begins = start + 8
            if size == 1:
                wide = file.read(8)
                size, begins = (struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0), begins + 8
            size = size or end - start
            if size < begins - start or start + size > end and kind not in _PARENTS:
                break
            if kind in _PARENTS:
                regions.append((begins, min(start + size, end)))
            elif kind == b"mdhd":
                longest = max(longest, _media_duration(file.read(32)))
            start += size
    return longest


def _media_duration(header: bytes) -> Fraction:
    """Seconds in the content of an mdhd box; 0 if it says none."""
    form = ">IIIII" if header[:1] == b"\0" else ">IQQIQ"
    if len(header) < struct.calcsize(form):
        return Fraction(0)
    *_, scale, duration = struct.unpack(form, header[: struct.calcsize(form)])
    unknown = duration in ((1 << 32) - 1, (1 << 64) - 1)
    return Fraction(0) if unknown or not scale else Fraction(duration, scale)
