"""Clips of sound and their log-mel spectrograms are those of VALOR's program."""

import av
import numpy as np
import pytest
import recipe_extract as recipe
import soxr

from avvp_jax.encoders.clap_sound import RATE, SAMPLES, clips, log_mels
from tests.encoders import networks as net
from tests.media.clips import golden, having, path_of


def sound_of(clip: str) -> np.ndarray:
    """The sound of a short video at 48 kHz, as librosa has it."""
    with av.open(path_of(clip)) as file:
        stream = file.streams.audio[0]
        to_integers = av.AudioResampler("s16", stream.layout, stream.rate)
        frames = [x for frame in file.decode(stream) for x in to_integers.resample(frame)]
        parts = [frame.to_ndarray().reshape(-1, stream.channels) for frame in frames]
    mono = (np.concatenate(parts).astype(np.float32) / 32768).mean(axis=1, dtype=np.float32)
    if stream.rate == RATE:
        return mono
    found = soxr.resample(mono, stream.rate, RATE, "soxr_hq")
    return np.pad(found, (0, -(-len(mono) * RATE // stream.rate) - len(found)))


@pytest.mark.golden
def test_spectrograms_are_those_of_torchaudio():
    waves = [recipe.wave(net.SEED + n, s, RATE) for n, s in enumerate((10, 10, 1.3))]
    found = log_mels(np.concatenate([clips(wave, 1)[1:] for wave in waves]))
    wanted = np.load(net.FOLDER / "clap_audio.npz")["log_mel"]
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 0.02 and np.abs(found - wanted).mean() < 1e-4


def rounded(x: np.ndarray) -> np.ndarray:
    return (np.trunc(np.clip(x, -1, 1) * np.float32(32767)) / 32767).astype(np.float32)


@pytest.mark.golden
@pytest.mark.parametrize("clip", having("clap_segment_start"))
def test_segments_are_where_valor_has_them(clip):
    """Of a made-up sound as long as the clip's; each fills ten seconds in repetitions."""
    numbers = golden()[clip]
    samples, step = int(numbers["clap_samples"]), int(numbers["clap_segment_step"])
    sound = np.random.default_rng(0).uniform(-1.1, 1.1, samples).astype(np.float32)
    whole, *segments = clips(sound, 10)
    for row, start in zip(segments, numbers["clap_segment_start"], strict=True):
        segment = rounded(sound[start : start + step])
        times = SAMPLES // step
        np.testing.assert_array_equal(row[: times * step], np.tile(segment, times))
        assert not row[times * step :].any()
    places = np.round(np.linspace(0, samples - 1, SAMPLES)).astype(int)
    np.testing.assert_array_equal(whole, rounded(sound[places]))


@pytest.mark.golden
@pytest.mark.parametrize("clip", ["pal_mono48", "film_surround48", "short", "ntsc_stereo441"])
def test_spectrograms_of_videos_are_those_of_valor(clip):
    found, numbers = log_mels(clips(sound_of(clip), 10)), golden()[clip]
    # Mean, deviation, smallest and largest number.
    wanted = np.concatenate([numbers["clap_mel_stats"][None], numbers["clap_segment_mel_stats"]])
    of_each = np.stack([found.mean((1, 2)), found.std((1, 2))], axis=1)
    np.testing.assert_allclose(of_each[0], wanted[0, :2], atol=3e-4)
    # In segments of tones most bins are silent, and PyTorch's own errors are all that is there.
    np.testing.assert_allclose(of_each, wanted[:, :2], atol=1e-2)
    np.testing.assert_allclose(found.max((1, 2)), wanted[:, 3], atol=1e-3)


@pytest.mark.parametrize(("samples", "segments"), [(1, 1), (10, 10), (SAMPLES, 1), (7, 3)])
def test_the_shortest_and_the_longest_segments(samples, segments):
    found = clips(np.full(samples, 0.5, np.float32), segments)
    assert found.shape == (1 + segments, SAMPLES) and found.dtype == np.float32
    assert (found[0] == rounded(np.float32(0.5))).all()


@pytest.mark.parametrize(
    ("samples", "segments", "says"),
    [
        (0, 1, "0 samples are too few for 1 segments"),
        (9, 10, "9 samples are too few for 10 segments"),
        (SAMPLES + 1, 1, "10.0 s are too long for 1 segments of up to 10 s"),
        (10 * SAMPLES + 10, 10, "100.0 s are too long for 10 segments"),
    ],
)
def test_sounds_that_have_no_such_segments_are_refused(samples, segments, says):
    with pytest.raises(ValueError, match=says):
        clips(np.zeros(samples, np.float32), segments)


def test_silence_is_the_smallest_number_of_decibels():
    found = log_mels(np.zeros((2, 4800), np.float32))
    np.testing.assert_array_equal(found, np.full((2, 11, 64), -100, np.float32))


def test_a_tone_is_in_its_band():
    time = np.arange(RATE) / RATE
    for hertz in (440, 3000, 9000):
        found = log_mels(np.sin(2 * np.pi * hertz * time)[None].astype(np.float32))[0].mean(axis=0)

        def mel(x):
            return 2595 * np.log10(1 + x / 700)

        place = 65 * (mel(hertz) - mel(50)) / (mel(14_000) - mel(50)) - 1
        assert abs(found.argmax() - place) < 1
