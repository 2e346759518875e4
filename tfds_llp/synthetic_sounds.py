"""The sounds of synthetic videos, made second by second from the time since the video's start.

Each class has a kind of sound. Pitch, pace and loudness differ a little from video to video.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64

from avvp_jax.task import SYNTHETIC_VIDEOS

RATE = 16_000  # samples per second
LOUDNESS = (0.04, 0.12)  # of an event: root of the mean square
BACKGROUND = (0.004, 0.02)  # of the noise in all of a video, likewise
_FADE = 160  # samples, where an event begins or ends
_TURN = 2 * np.pi

Times = Float64[np.ndarray, " samples"]
Wave = Float64[np.ndarray, " samples"]


class Voice(NamedTuple):
    """How an event sounds in one video.

    Attributes:
      pitch, pace: factors around one.
      phase: seconds by which what repeats is late.
      loudness: root of the mean square.
      noise: for random numbers.
    """

    pitch: float
    pace: float
    phase: float
    loudness: float
    noise: np.random.Generator


def _since(time: Times, period: float, voice: Voice) -> Times:
    """Seconds since something that repeats last began."""
    return (time + voice.phase) * voice.pace % period


def _band(voice: Voice, samples: int, low: float, high: float) -> Wave:
    """Noise between two frequencies."""
    spectrum = np.fft.rfft(voice.noise.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    return np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), samples)


def _bell(time: Times, voice: Voice) -> Wave:
    since, hertz = _since(time, 0.5, voice), 620 * voice.pitch
    partials = ((1, 1, 0.35), (2.76, 0.6, 0.2), (5.4, 0.4, 0.1))
    return sum(
        loud * np.exp(-since / lasts) * np.sin(_TURN * hertz * ratio * since)
        for ratio, loud, lasts in partials
    )


def _siren(time: Times, voice: Voice) -> Wave:
    pace = 0.8 * voice.pace  # sweeps a second
    sweep = np.sin(_TURN * pace * (time + voice.phase))
    phase = _TURN * 900 * voice.pitch * time + 350 * voice.pitch / pace * sweep
    return np.sin(phase) + 0.3 * np.sin(2 * phase)


def _drum(time: Times, voice: Voice) -> Wave:
    since = _since(time, 0.33, voice)
    thump = np.exp(-since / 0.09) * np.sin(_TURN * voice.pitch * (130 * since + 4 * since**0.5))
    return thump + 0.3 * np.exp(-since / 0.015) * voice.noise.standard_normal(len(time))


def _bird(time: Times, voice: Voice) -> Wave:
    since = _since(time, 0.22, voice)
    sung = since < 0.12
    return (
        sung
        * np.sin(_TURN * voice.pitch * (2600 * since + 7000 * since**2))
        * np.sin(np.pi * np.minimum(since / 0.12, 1))
    )


def _engine(time: Times, voice: Voice) -> Wave:
    hertz = 85 * voice.pitch
    wobble = 0.4 * np.sin(_TURN * 3 * voice.pace * time)
    return sum(np.sin(n * (_TURN * hertz * time + wobble)) / n**0.7 for n in range(1, 10))


def _rain(time: Times, voice: Voice) -> Wave:
    return _band(voice, len(time), 1800 * voice.pitch, 7800)


def _clock(time: Times, voice: Voice) -> Wave:
    since = _since(time, 0.25, voice)
    ringing = np.sin(_TURN * 3900 * voice.pitch * since) + 0.5 * voice.noise.standard_normal(
        len(time)
    )
    return np.exp(-since / 0.006) * ringing


def _fan(time: Times, voice: Voice) -> Wave:
    beats = 1 + 0.9 * np.sin(_TURN * 6 * voice.pace * (time + voice.phase))
    return beats * _band(voice, len(time), 250 * voice.pitch, 1000 * voice.pitch)


_SOUNDS: dict[str, Callable[[Times, Voice], Wave]] = {
    "Bell": _bell,
    "Siren": _siren,
    "Drum": _drum,
    "Bird": _bird,
    "Engine": _engine,
    "Rain": _rain,
    "Clock": _clock,
    "Fan": _fan,
}


class Soundtrack:
    """The sound of one video.

    Args:
      rng: draws what differs between videos.
      heard: which class is heard in which second.
    """

    def __init__(self, rng: np.random.Generator, heard: Bool[np.ndarray, "seconds classes"]):
        self._heard = heard
        self._voices = [
            Voice(
                pitch=rng.uniform(0.85, 1.18),
                pace=rng.uniform(0.85, 1.18),
                phase=rng.uniform(),
                loudness=rng.uniform(*LOUDNESS),
                noise=np.random.default_rng(rng.integers(2**63)),
            )
            for _ in SYNTHETIC_VIDEOS.classes
        ]
        self._background = rng.uniform(*BACKGROUND)
        self._colour = rng.uniform(0, 1)  # of the noise: from white to brown
        self._noise = np.random.default_rng(rng.integers(2**63))

    def second(self, number: int) -> Float32[np.ndarray, " samples"]:
        """The samples of a second of the video; to be asked for in order."""
        time = number + np.arange(RATE) / RATE
        spectrum = np.fft.rfft(self._noise.standard_normal(RATE))
        spectrum *= np.maximum(np.arange(len(spectrum)), 30) ** -self._colour
        wave = _of_loudness(np.fft.irfft(spectrum, RATE), self._background)
        for index, (name, voice) in enumerate(
            zip(SYNTHETIC_VIDEOS.classes, self._voices, strict=True)
        ):
            if self._heard[number, index]:
                event = _of_loudness(_SOUNDS[name](time, voice), voice.loudness)
                wave += event * self._fades(number, index)
        return np.clip(wave, -1, 1).astype(np.float32)

    def _fades(self, number: int, index: int) -> Wave:
        """One, but for short ramps where an event begins or ends."""
        gain, ramp = np.ones(RATE), np.arange(_FADE) / _FADE
        if number == 0 or not self._heard[number - 1, index]:
            gain[:_FADE] = ramp
        if number + 1 == len(self._heard) or not self._heard[number + 1, index]:
            gain[-_FADE:] = ramp[::-1]
        return gain


def _of_loudness(wave: Wave, loudness: float) -> Wave:
    return wave * (loudness / np.sqrt((wave**2).mean()))
