"""VGGish's spectrograms, against their formulas written out."""

import math

import numpy as np
import pytest
import recipe_extract as recipe

from avvp_jax.encoders.log_mel import NEEDED, RATE, log_mels


def written_out(second: np.ndarray, frame: int, band: int) -> float:
    """One entry of a spectrogram, by sums."""

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    total, step = 0.0, (mel(7500) - mel(125)) / 65
    low = mel(125) + band * step
    part = second[160 * frame : 160 * frame + 400]
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    for number in range(1, 257):
        place = (mel(number * 8000 / 256) - low) / step
        if weight := max(0, min(place, 2 - place)):
            turns = np.exp(-2j * np.pi * number * np.arange(400) / 512)
            total += weight * abs((part * hann * turns).sum())
    return math.log(total + 0.01)


def test_entries_are_those_of_the_formulas():
    wave = recipe.wave(1, 2, RATE).astype(float)
    found = log_mels(wave)
    assert found.shape == (2, 96, 64) and found.dtype == np.float32
    for second, frame, band in ((0, 0, 0), (0, 95, 63), (1, 0, 30), (1, 47, 5), (1, 95, 12)):
        exact = written_out(wave[second * RATE :], frame, band)
        assert found[second, frame, band] == pytest.approx(exact, abs=1e-6)


def test_a_second_knows_nothing_of_the_next():
    wave = recipe.wave(2, 3, RATE).astype(float)
    np.testing.assert_array_equal(log_mels(wave)[1:], log_mels(wave[RATE:]))
    changed = wave.copy()
    changed[NEEDED:RATE] = 0  # the end of a second is not used
    np.testing.assert_array_equal(log_mels(changed), log_mels(wave))


def test_integers_and_channels():
    both = (recipe.wave(3, 2, RATE * 2).reshape(-1, 2) * 32767).astype(np.int16)
    np.testing.assert_allclose(log_mels(both), log_mels(both.mean(axis=1) / 32768), atol=1e-6)


@pytest.mark.parametrize(("samples", "seconds"), [(0, 0), (NEEDED - 1, 0), (NEEDED, 1), (31599, 1)])
def test_a_second_that_is_too_short_is_left_out(samples, seconds):
    assert log_mels(np.zeros(samples)).shape == (seconds, 96, 64)
    np.testing.assert_allclose(log_mels(np.zeros(samples)), math.log(0.01), rtol=1e-6)
