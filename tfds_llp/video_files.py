"""Writes small mp4 files."""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avvp_jax.errors import UserError, cause
from avvp_jax.media.opening import library

_PREFERRED = ("libx264", "mpeg4")  # what the build of FFmpeg has
_SOUND_BITS, _PICTURE_BITS = 48_000, 400_000  # a second; the latter of mpeg4 alone


def write_video(
    path: Path, parts: Iterable[tuple[np.ndarray, np.ndarray]], rate: int, samples: int
) -> None:
    """Writes a video with sound; it appears whole or not at all. Equal parts give equal bytes.

    Args:
      path: of the mp4 file.
      parts: pieces in order: frames uint8 [frames, height, width, 3], and the sound of the same
        time, float32 [samples].
      rate: frames a second.
      samples: of sound a second.

    Raises:
      UserError: it cannot be written, or PyAV is not installed.
    """
    av = library("av")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # FFmpeg would take what is before a colon for a protocol.
        place, options = f"file:{unfinished}", {"fflags": "+bitexact"}
        with av.open(place, "w", format="mp4", options=options) as file:
            _encode(av, file, parts, rate, samples)
        unfinished.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise UserError(f"{path}: cannot be written ({cause(error)})") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _encode(av: Any, file: Any, parts: Iterable, rate: int, samples: int) -> None:
    picture = sound = None
    shown = heard = 0
    for frames, wave in parts:
        if picture is None:
            picture = _picture_stream(av, file, rate, *frames.shape[1:3])
            sound = file.add_stream("aac", rate=samples, layout="mono", options=_EXACT)
            sound.bit_rate = _SOUND_BITS
        for each in frames:
            frame = av.VideoFrame.from_ndarray(each, format="rgb24").reformat(format="yuv420p")
            frame.pts, shown = shown, shown + 1
            frame.time_base = Fraction(1, rate)
            file.mux(picture.encode(frame))
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = samples, Fraction(1, samples)
        frame.pts, heard = heard, heard + len(wave)
        file.mux(sound.encode(frame))
    if picture is not None:
        file.mux(picture.encode(None))
        file.mux(sound.encode(None))


_EXACT = {"flags": "+bitexact"}


def _picture_stream(av: Any, file: Any, rate: int, height: int, width: int) -> Any:
    codec = next(name for name in _PREFERRED if name in av.codecs_available)
    quality = {"preset": "ultrafast", "crf": "30"} if codec == "libx264" else {}
    stream = file.add_stream(codec, rate=rate, options={"threads": "1", **quality, **_EXACT})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    if not quality:
        stream.bit_rate = _PICTURE_BITS
    return stream
