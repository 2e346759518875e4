"""The sound of a file as it is decoded, and at 16 or 48 kHz by a proper resampler."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16

from avvp_jax.media.decoding import sounds
from avvp_jax.media.opening import LONGEST, Opened, library

RATE = 16_000
RATE_48K = 48_000  # which CLAP hears
PCM_RATE = 44_100  # at which MoviePy has ffmpeg write samples
_SMALLEST_HOLE = Fraction(1, 10)  # seconds without sound that become silence; less is jitter
_AT_ONCE = 1 << 16  # samples of silence
_AS_IT_IS = "s16", None, None  # format, layout and rate: those of the file but for its format


def pcm(opened: Opened) -> Iterator[Int16[np.ndarray, "samples 2"]]:
    """Sound as `ffmpeg -f s16le -ar 44100 -ac 2` has it, whatever its timestamps.

    One of a thousand samples differs from FFmpeg 4's by 1, because decoders' floats do.
    """
    for frame in _resampled(sounds(opened), "s16", "stereo", PCM_RATE):
        yield frame.to_ndarray().reshape(-1, 2)


def placed_pcm(opened: Opened) -> Iterator[Int16[np.ndarray, "samples 2"]]:
    """The same from the start of the file, with silence where its timestamps leave holes."""
    for samples, _ in _without_holes(opened, "s16", "stereo", PCM_RATE):
        yield samples


def mono(opened: Opened) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Sound at 16 kHz, mixed to one channel, from the start of the file, without holes."""
    parts = _without_holes(opened, "flt", "mono", None)
    return _at(RATE, ((samples[:, 0], given) for samples, given in parts))


def averaged(opened: Opened) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Sound at 48 kHz as librosa loads it for CLAP, whatever its timestamps.

    That is the mean of all channels of 16 bit samples. One of them may differ by 1, as in `pcm`.
    """
    return _at(RATE_48K, ((_mean(part), given) for part, given, _ in _timed(opened, *_AS_IT_IS)))


def placed_averaged(opened: Opened) -> Iterator[Float32[np.ndarray, " samples"]]:
    """The same from the start of the file, with silence where its timestamps leave holes."""
    parts = _without_holes(opened, *_AS_IT_IS)
    return _at(RATE_48K, ((_mean(part), given) for part, given in parts))


def _mean(samples: Int16[np.ndarray, "samples channels"]) -> Float32[np.ndarray, " samples"]:
    return (samples.astype(np.float32) / 32768).mean(axis=1)


def _at(rate: int, parts: Iterable[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    """Sound at another rate.

    Args:
      rate: in samples a second.
      parts: float32 [samples] and the rate that they have.
    """
    for given, run in itertools.groupby(parts, lambda part: part[1]):
        yield from _changed((samples for samples, _ in run), given, rate)


def _changed(parts: Iterable[np.ndarray], given: int, rate: int) -> Iterator[np.ndarray]:
    """Sound of one rate at another, rounded up to a whole sample by zeros, as librosa does."""
    if given == rate:
        yield from parts
        return
    stream = library("soxr").ResampleStream(given, rate, 1, "float32", "HQ")
    taken = made = 0
    for part in parts:
        found = stream.resample_chunk(np.ascontiguousarray(part))
        taken, made = taken + len(part), made + len(found)
        yield found
    found = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    lacks = -(-taken * rate // given) - made - len(found)
    yield np.pad(found, (0, max(0, lacks)))


def slices(parts: Iterable[np.ndarray], starts: Sequence[int], length: int) -> Iterator[np.ndarray]:
    """Pieces of sound of one length; what is past its end is silence.

    Args:
      parts: the sound, samples first.
      starts: first samples of the pieces, in ascending order.
      length: samples of a piece.
    """
    parts = iter(parts)
    held, begins = next(parts, np.zeros(length, np.float32)), 0
    for start in starts:
        joined = [held]
        while begins + sum(map(len, joined)) < start + length:
            if (part := next(parts, None)) is None:
                break
            joined.append(part)
            if begins + sum(map(len, joined[:-1])) <= start:  # not needed any more
                begins += sum(map(len, joined[:-1]))
                joined = joined[-1:]
        held = np.concatenate(joined)
        held, begins = held[max(0, start - begins) :], max(start, begins)
        piece = held[:length]
        yield np.pad(piece, [(0, length - len(piece)), *[(0, 0)] * (piece.ndim - 1)])


def _resampled(
    frames: Iterable[Any], format_: str, layout: str | None, rate: int | None
) -> Iterator[Any]:
    """Frames of another format; the file's may change on the way.

    None for layout or rate leaves what the frames have.
    """
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


def _without_holes(
    opened: Opened, format_: str, layout: str | None, rate: int | None
) -> Iterator[tuple[np.ndarray, int]]:
    """Samples [samples, channels] and their rate; each stands where its timestamp says.

    What is before the start of the file is left out.
    """
    position = Fraction(0)
    for samples, given, time in _timed(opened, format_, layout, rate):
        if time is not None and position == 0 and time < 0:
            samples = samples[int(-time * given) :]
        elif time is not None and time - position > (_SMALLEST_HOLE if position else 0):
            missing = round((time - position) * given)
            for begins in range(0, missing, _AT_ONCE):
                silent = min(_AT_ONCE, missing - begins)
                yield np.zeros((silent, samples.shape[1]), samples.dtype), given
            position += Fraction(missing, given)
        if len(samples):
            yield samples, given
            position += Fraction(len(samples), given)


def _timed(opened: Opened, *kind: Any) -> Iterator[tuple[np.ndarray, int, Fraction | None]]:
    """Samples, their rate, and the time of the first; None where no timestamp says it."""
    time: Fraction | None = None

    def noted(frames: Iterable[Any]) -> Iterator[Any]:
        nonlocal time
        for frame in frames:
            if frame.pts is not None and time is None:
                said = opened.time(frame.pts, frame.time_base)
                time = said if abs(said) < LONGEST else None
            yield frame

    for frame in _resampled(noted(sounds(opened)), *kind):
        samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
        yield samples, frame.sample_rate, time
        time = None
