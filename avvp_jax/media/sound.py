"""The sound of a file as it is decoded, and at 16 kHz by a proper resampler."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16

from avvp_jax.media.decoding import sounds
from avvp_jax.media.opening import LONGEST, Opened, library

RATE = 16_000
PCM_RATE = 44_100  # at which MoviePy has ffmpeg write samples
_SMALLEST_HOLE = 0.1  # seconds without sound that are filled with silence; less is jitter


def pcm(opened: Opened) -> Iterator[Int16[np.ndarray, "samples 2"]]:
    """Sound as `ffmpeg -f s16le -ar 44100 -ac 2` has it, whatever its timestamps.

    One of a thousand samples differs from FFmpeg 4's by 1, because decoders' floats do.
    """
    for frame in _resampled(sounds(opened), "s16", "stereo", PCM_RATE):
        yield frame.to_ndarray().reshape(-1, 2)


def _resampled(frames: Iterable[Any], format_: str, layout: str, rate: int | None) -> Iterator[Any]:
    """Frames of another format; the file's may change on the way."""
    resampler, kind = None, None
    for frame in frames:
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if now != kind:
            if resampler:
                yield from resampler.resample(None)
            kind = now
            resampler = library("av").AudioResampler(format_, layout, rate or frame.sample_rate)
        frame.pts = None  # what is resampled is continuous
        yield from resampler.resample(frame)
    if resampler:
        yield from resampler.resample(None)


def mono(opened: Opened) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Sound at 16 kHz, mixed to one channel, from the start of the file.

    Sound that starts late, or has holes, stands where its timestamps say.
    """
    soxr = library("soxr")
    stream, rate, written = None, 0, 0
    for samples, given, time in _placed(opened):
        if given != rate:
            if stream is not None:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            stream, rate = soxr.ResampleStream(given, RATE, 1, "float32", "HQ"), given
            written = 0 if not written else round(float(time) * rate)
        missing = round(float(time) * rate) - written
        if missing > _SMALLEST_HOLE * rate or (written == 0 and missing > 0):
            for silence in _silence(missing):
                yield stream.resample_chunk(silence)
            written += missing
        elif written == 0 and missing < 0:
            samples = samples[-missing:]  # before the start of the file
        yield stream.resample_chunk(samples)
        written += len(samples)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _placed(opened: Opened) -> Iterator[tuple[np.ndarray, int, Fraction]]:
    """Mono samples at their own rate, the rate, and the time of the first."""
    time, ends = Fraction(0), Fraction(0)

    def marked() -> Iterator[Any]:
        nonlocal time
        for frame in sounds(opened):
            time = ends
            if frame.pts is not None and abs(opened.time(frame.pts, frame.time_base)) < LONGEST:
                time = opened.time(frame.pts, frame.time_base)
            yield frame

    for frame in _resampled(marked(), "fltp", "mono", None):
        samples = frame.to_ndarray().reshape(-1)
        yield np.ascontiguousarray(samples, np.float32), frame.sample_rate, time
        ends = time + Fraction(len(samples), frame.sample_rate)


def _silence(samples: int, longest: int = 1 << 16) -> Iterator[np.ndarray]:
    for start in range(0, samples, longest):
        yield np.zeros(min(longest, samples - start), np.float32)
