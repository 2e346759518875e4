"""VGGish's log-mel spectrograms of sound, as AVVP's extraction computes them.

Each second of a clip is taken alone, so the step between examples is exactly one second, of which
the last 25 ms are not used. Everything is float64 on the host; the result is float32.
"""

import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Float64, Shaped

FRAMES, BANDS = 96, 64  # of a spectrogram
RATE = 16_000  # samples per second
WINDOW, HOP, TRANSFORM = 400, 160, 512  # samples: of a frame, between frames, of the transform
NEEDED = WINDOW + (FRAMES - 1) * HOP  # samples of each second: 15,600
LOWEST, HIGHEST = 125.0, 7500.0  # Hz
OFFSET = 0.01  # added before the logarithm


def log_mels(
    sound: Shaped[np.ndarray, " samples *channels"], starts: Iterable[float] | None = None
) -> Float32[np.ndarray, "parts _ _"]:
    """The spectrograms of parts of a sound, in log(magnitude + 0.01).

    Args:
      sound: at 16 kHz; integers of 16 bits, or floats in -1..1. Channels are averaged.
      starts: of the parts, in seconds; None is every second.

    Returns:
      [parts, 96, 64]; parts of which less than 0.975 s is there are left out.
    """
    if sound.dtype.kind == "i":
        sound = sound / 32768
    sound = sound.astype(np.float64)
    if sound.ndim > 1:
        sound = sound.mean(axis=1)
    samples = range(0, len(sound), RATE) if starts is None else [round(x * RATE) for x in starts]
    parts = [sound[start : start + NEEDED] for start in samples]
    spectrograms = [_log_mel(part) for part in parts if len(part) == NEEDED]
    return np.array(spectrograms, np.float32).reshape(-1, FRAMES, BANDS)


def _log_mel(part: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, "frames bands"]:
    frames = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))
    magnitudes = np.abs(np.fft.rfft(frames * hann, TRANSFORM))
    # Cut into products too small for BLAS to share among threads, which would take far longer.
    mels = magnitudes.reshape(FRAMES // 12, 12, -1) @ _mel_weights()
    return np.log(mels.reshape(FRAMES, BANDS) + OFFSET)


def _mel(hertz):
    """A frequency on HTK's mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


@functools.cache
def _mel_weights() -> Float64[np.ndarray, "bins bands"]:
    """Triangles over the bins of the transform, linear in mel; the first bin counts nowhere."""
    bins = _mel(np.linspace(0, RATE / 2, TRANSFORM // 2 + 1))[:, None]
    edges = np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return weights
