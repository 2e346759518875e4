"""Clips of sound as CLAP hears them, and their log-mel spectrograms, as VALOR makes both.

All clips are ten seconds long at 48 kHz: a whole sound is stretched or squeezed to that by nearest
samples, a segment of it is repeated. Everything is float32 on the host.
"""

import functools

import numpy as np
import scipy.fft
import scipy.sparse
from jaxtyping import Float32

RATE = 48_000  # samples per second
SAMPLES = 10 * RATE  # of a clip
FRAMES, BANDS = 1001, 64  # of a clip's spectrogram
WINDOW, HOP = 1024, 480  # samples: of a frame and of its transform, between frames
LOWEST, HIGHEST = 50.0, 14_000.0  # Hz
SMALLEST = -100.0  # dB


def clips(
    sound: Float32[np.ndarray, " samples"], segments: int
) -> Float32[np.ndarray, "rows 480000"]:
    """A whole sound, and each of its segments, as clips of ten seconds.

    Args:
      sound: mono, at 48 kHz, of any length.
      segments: in which it is divided; each has the same number of samples.

    Returns:
      [1 + segments, 480000]: the whole sound, then its segments, each repeated as often as it fits
      and followed by silence.

    Raises:
      ValueError: a segment has no samples, or lasts more than ten seconds, of which CLAP (the
        fusion model) would take parts at random.
    """
    length = len(sound) // segments
    if not length:
        raise ValueError(f"{len(sound)} samples are too few for {segments} segments")
    if length > SAMPLES:
        raise ValueError(
            f"{len(sound) / RATE:.1f} s are too long for {segments} segments of up to "
            f"{SAMPLES // RATE} s"
        )
    rows = np.zeros((1 + segments, SAMPLES), np.float32)
    places = np.round(np.linspace(0, len(sound) - 1, SAMPLES)).astype(np.int32)
    rows[0] = _rounded(sound[places])
    starts = np.round(np.linspace(0, len(sound), segments + 1)).astype(int)[:segments]
    times = SAMPLES // length
    for row, start in zip(rows[1:], starts, strict=True):
        segment = _rounded(sound[start : start + length])
        row[: times * length].reshape(times, length)[:] = segment
    return rows


def _rounded(sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """What is left of a sound in 16 bits."""
    whole = (np.clip(sound, -1, 1) * np.float32(32767)).astype(np.int16)
    return (whole / np.float64(32767)).astype(np.float32)


def log_mels(waves: Float32[np.ndarray, "n samples"]) -> Float32[np.ndarray, "n frames 64"]:
    """Spectrograms of sounds at 48 kHz, in dB: torchaudio's MelSpectrogram and AmplitudeToDB.

    Args:
      waves: of at least 513 samples.

    Returns:
      A frame every 10 ms, centred there, where the sound goes on mirrored at both ends; 1001 of
      ten seconds.
    """
    return np.stack([_log_mel(wave) for wave in waves])


def _log_mel(wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "frames bands"]:
    padded = np.pad(wave, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = scipy.fft.rfft(frames * _hann())
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    # Sums over the few bins of each band are faster than a product, and need no threads.
    mels = np.maximum(power @ _mel_weights(), np.float32(10 ** (SMALLEST / 10)))
    return np.maximum(10 * np.log10(mels), np.float32(SMALLEST))


@functools.cache
def _hann() -> Float32[np.ndarray, " window"]:
    turns = 2 * np.pi / WINDOW * np.arange(WINDOW)
    return (0.5 - 0.5 * np.cos(turns)).astype(np.float32)


def _mel(hertz: float) -> float:
    """A frequency on HTK's mel scale."""
    return 2595 * np.log10(1 + hertz / 700)


@functools.cache
def _mel_weights() -> scipy.sparse.csc_array:
    """Triangles over the bins of the transform, linear in Hz: float32 [513, 64]."""
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=np.float32)[:, None]
    edges = np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2, dtype=np.float32)
    edges = np.float32(700) * (np.float32(10) ** (edges / np.float32(2595)) - 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return scipy.sparse.csc_array(np.maximum(0, np.minimum(rising, falling)))
