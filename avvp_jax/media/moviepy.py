"""The 16 kHz sound that MoviePy 1 writes, with its faults, which published features were made of.

It takes the nearest sample of 44.1 kHz without a filter, out of a window that it moves along. Each
time it moves the window it keeps a sample too many, so that later sound is late by one sample more;
past the end of the file the window is too short, and earlier sound comes again.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int16

from avvp_jax.media.sound import PCM_RATE, RATE

_WINDOW = 200_000  # samples that MoviePy holds
_CHUNK = 2000  # samples that it writes at once


class _Pcm:
    """Samples of a stream of arrays, in order."""

    def __init__(self, parts: Iterator[Int16[np.ndarray, "samples 2"]]):
        self._parts = parts
        self._left = np.zeros((0, 2), np.int16)

    def take(self, samples: int) -> Float64[np.ndarray, "samples 2"]:
        """The next samples, or as many as there are."""
        taken, count = [self._left], len(self._left)
        while count < samples and (part := next(self._parts, None)) is not None:
            taken.append(part)
            count += len(part)
        joined = np.concatenate(taken)
        self._left = joined[samples:]
        return joined[:samples] / 32768.0


def wav(
    parts: Iterator[Int16[np.ndarray, "samples 2"]], duration: float
) -> Iterator[Int16[np.ndarray, "samples 2"]]:
    """The samples of MoviePy's wav file at 16 kHz, in parts.

    Args:
      parts: the sound at 44.1 kHz.
      duration: of the file in seconds, as FFmpeg 4 prints it.
    """
    size = min(int(PCM_RATE * duration) + 1, _WINDOW)
    pcm = _Pcm(parts)
    window, start = pcm.take(size), 0
    samples = int(RATE * duration)
    borders = np.linspace(0, samples, samples // _CHUNK + 2).astype(int)
    for first, end in zip(borders, borders[1:], strict=False):
        wanted = np.round(PCM_RATE * (np.arange(first, end) * (1.0 / RATE))).astype(int)
        if not len(wanted) or not len(window):
            continue
        for centre in (int(wanted.min()), int(wanted.max())):
            if not 0 <= centre - start < len(window):
                moved = max(0, centre - size // 2)
                kept = start + size - moved + 1
                window = np.concatenate([window[-kept:], pcm.take(max(0, size - kept))])
                start = moved
                break
        index = wanted - start
        if len(window) < size // 2:
            index = index - (size // 2 - len(window) + 1)
        index = np.clip(index, -len(window), len(window) - 1)
        yield (np.clip(window[index], -0.99, 0.99) * 32768).astype(np.int16)
