"""Sound at 16 kHz, as MoviePy writes it and by a proper resampler, and at 48 kHz as CLAP has it."""

import dataclasses
import sys

import av
import numpy as np
import pytest
import soxr

from avvp_jax.errors import UserError
from avvp_jax.media import moviepy, opening, sound
from avvp_jax.media.extent import measured
from avvp_jax.media.opening import opened
from avvp_jax.media.sound import slices
from avvp_jax.media.windows import Wanted, whole, windows
from avvp_jax.task import LLP
from tests.media.clips import crc, golden, having, make, path_of, plain, tone

CLIPS = having("wav_crc")
# Decoders' floats differ in their last bits, so that one sample of a thousand may be off by 1.
OFF_BY_ONE = 1e-3


def wav_of(path: str) -> np.ndarray:
    with opened(path) as file:
        duration = measured(file).claimed
    with opened(path) as file:
        return np.concatenate(list(moviepy.wav(sound.pcm(file), duration)))


@pytest.mark.golden
@pytest.mark.parametrize("clip", CLIPS)
def test_wav_files_are_those_of_moviepy(clip):
    numbers, path = golden()[clip], path_of(clip)
    with opened(path) as file:
        assert measured(file).claimed == numbers["wav_duration"]
    wav = wav_of(path)
    assert wav.shape == tuple(numbers["wav_shape"]) and wav.dtype == np.int16
    real = wav.reshape(-1) / 32768
    places = np.linspace(0, real.size - 1, 8).round()[1:-1].astype(int)
    found = [real.mean(), real.std(), real.min(), real.max(), *real[places]]
    np.testing.assert_allclose(found, numbers["wav_stats"], atol=1.01 / 32768)
    # Mean and deviation of 160,000 samples hold them to far less than one step on average.
    np.testing.assert_allclose(found[:2], numbers["wav_stats"][:2], atol=1e-7)


@pytest.mark.golden
def test_samples_of_a_wav_file_at_its_beginning_and_past_its_end():
    numbers = golden()["ntsc_stereo441"]
    wav = wav_of(path_of("ntsc_stereo441")).astype(int)
    for found, expected in (
        (wav[:4000], numbers["wav_head"]),
        (wav[-3000:], numbers["wav_last"]),  # here the earlier sound comes again
    ):
        off = np.abs(found - expected)
        assert off.max() <= 1 and (off > 0).mean() <= OFF_BY_ONE


@pytest.mark.golden
def test_whole_seconds_are_bit_exact_where_no_sample_is_off():
    """Over all clips: a second of 32,000 numbers is whole about once in ten."""
    equal = 0
    for clip in CLIPS:
        if clip not in ("BjCEufrlXm4", "bigbuckbunny"):
            wav = wav_of(path_of(clip))
            seconds = golden()[clip]["wav_second_crc"]
            parts = [wav[at * 16_000 : (at + 1) * 16_000] for at in range(len(seconds))]
            equal += sum(crc(p) == c for p, c in zip(parts, seconds, strict=True))
    assert equal >= 5


CLAP_CLIPS = [clip for clip in having("clap_samples") if clip != "two_tracks_second"]
# 48 kHz, and of one channel or decoded to the same bits: nothing is computed that could differ.
TO_THE_BIT = ("pal_mono48", "bigbuckbunny")
HEARD_48K = Wanted(LLP, views=(), sound=False, fidelity="published", sound_48k=True)


@pytest.mark.golden
@pytest.mark.parametrize("clip", CLAP_CLIPS)
def test_clap_hears_what_librosa_loads(clip):
    numbers = golden()[clip]
    heard = whole(path_of(clip), HEARD_48K).sound_48k
    assert heard.dtype == np.float32 and len(heard) == numbers["clap_samples"]
    step = 97 if clip == "ntsc_stereo441" else 1009
    off = np.abs(heard[::step] - numbers[f"clap_wave_every{step}"])
    assert off.max() <= 1.6e-5 and off.mean() <= 3.6e-8
    assert clip not in TO_THE_BIT or not off.any()
    places = np.linspace(0, heard.size - 1, 8).round()[1:-1].astype(int)
    found = [heard.mean(), heard.std(), heard.min(), heard.max(), *heard[places]]
    np.testing.assert_allclose(found, numbers["clap_wave_stats"], atol=1.01 / 32768)
    np.testing.assert_allclose(found[:2], numbers["clap_wave_stats"][:2], atol=1e-7)


@pytest.mark.golden
def test_clap_hears_all_samples_of_the_default_track():
    """The published program reads a stereo track as one of mono, twice as long."""
    number = golden()["two_tracks_second"]["clap_samples"]
    heard = whole(path_of("two_tracks_second"), HEARD_48K).sound_48k
    assert 2 * len(heard) == number
    with opened(path_of("two_tracks_second")) as file:
        both = np.concatenate(list(sound.pcm(file)))  # it has 44.1 kHz and two channels
    np.testing.assert_array_equal(heard, at_48_khz(both, 44_100))


def at_48_khz(samples: np.ndarray, rate: int) -> np.ndarray:
    """The mean of int16 [samples, channels], resampled at once."""
    mean = (samples / np.float32(32768)).mean(axis=1, dtype=np.float32)
    made = soxr.resample(mean, rate, 48_000, "HQ")
    return np.pad(made, (0, int(np.ceil(len(mean) * 48_000 / rate)) - len(made)))


@pytest.mark.parametrize("layout,channels", [("mono", 1), ("stereo", 2), ("2.1", 3), ("7.1", 8)])
@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 96_000])
def test_clap_hears_the_mean_of_all_channels(tmp_path, layout, channels, rate):
    samples = np.random.default_rng(rate).integers(-9000, 9000, (2 * rate + 7, channels), np.int16)
    samples[:, 0] //= 8  # the first channel is not what is heard
    path = str(tmp_path / "x.wav")
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = at_48_khz(samples, rate)
    assert len(expected) == np.ceil(len(samples) * 48_000 / rate)
    np.testing.assert_array_equal(whole(path, HEARD_48K).sound_48k, expected)
    # A window holds the same, and then silence.
    direct = dataclasses.replace(HEARD_48K, fidelity="direct")
    (window,) = windows(path, direct)
    np.testing.assert_array_equal(window.sound_48k[: len(expected)], expected)
    assert len(window.sound_48k) == 480_000 and not window.sound_48k[len(expected) :].any()
    if channels > 1:
        assert np.abs(expected - at_48_khz(samples[:, :1], rate)).mean() > 0.01


def test_the_track_that_is_flagged_default_is_heard():
    first, second = (wav_of(path_of(clip)) for clip in ("two_tracks", "two_tracks_second"))
    assert np.abs(first.astype(int) - second).mean() > 100


@pytest.mark.parametrize("seconds,claimed", [(0.4, 0.4), (3, 3), (4.6, 4.6), (10.03, 10.05)])
def test_moviepys_window_moves_and_comes_too_late(seconds, claimed):
    """Each sample is one of the source, and later ones come later than they should."""
    count, step = int(44_100 * seconds), 15  # samples with the same value
    source = np.stack([np.arange(count) // step] * 2, 1).astype(np.int16)
    parts = iter(np.split(source, [100, 5000, 5001]) if count > 6000 else [source])
    wav = np.concatenate(list(moviepy.wav(parts, float(claimed))))
    assert wav.shape == (int(16_000 * claimed), 2)
    at = np.round(np.arange(len(wav)) / 16_000 * 44_100).astype(int)
    late = at - step * wav[:, 0].astype(int)
    assert np.all((late >= 0) & (late <= step + 2) | (at > 430_000))
    assert np.all(late[at < 194_000] < step)
    if seconds > 10:
        assert late[(at > 310_000) & (at < 400_000)].max() == step - 1 + 2
        assert np.all(np.abs(late[-1500:] - 0.74 * 44_100) < 1000)  # heard before


def test_silence_and_loud_sound_stay_what_they_are():
    for value, expected in ((0, 0), (32767, 32440), (-32768, -32440)):
        parts = iter([np.full((44_100, 2), value, np.int16)])
        (wav,) = {tuple(row) for row in np.concatenate(list(moviepy.wav(parts, 1.0)))}
        assert wav == (expected, expected)


def test_direct_sound_keeps_tones_and_drops_what_16_khz_cannot_hold(tmp_path):
    rate, seconds = 44_100, 3
    time = np.arange(rate * seconds) / rate
    for hertz, kept in ((440, True), (7000, True), (9500, False)):
        path = str(tmp_path / f"{hertz}.wav")
        with av.open(path, "w") as container:
            stream = container.add_stream("pcm_s16le", rate=rate)
            stream.layout = "stereo"
            samples = np.repeat(8000 * np.sin(2 * np.pi * hertz * time), 2).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "stereo")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with opened(path) as file:
            heard = np.concatenate(list(sound.mono(file)))
        assert abs(len(heard) - 16_000 * seconds) <= 1 and heard.dtype == np.float32
        middle = heard[8000:40_000]
        assert (middle.std() > 0.15) == kept, hertz
        if kept:
            spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
            assert abs(spectrum.argmax() * 16_000 / len(middle) - hertz) < 1


@pytest.mark.parametrize("late", [0, 16_000, 40_000])
def test_placed_sound_stands_where_its_timestamps_say(tmp_path, late):
    path = make(
        tmp_path / "x.mkv", [plain()] * 100, sound=tone(1), sound_codec="pcm_s16le",
        sound_starts=late,
    )  # fmt: skip
    with opened(path) as file:
        heard = np.concatenate(list(sound.mono(file)))
    begins = np.flatnonzero(np.abs(heard) > 0.05)[0]
    assert abs(begins - late) < 100 and abs(len(heard) - late - 16_000) <= 1024
    (window,) = windows(path, dataclasses.replace(HEARD_48K, fidelity="direct"))
    assert abs(np.flatnonzero(np.abs(window.sound_48k) > 0.05)[0] - 3 * late) < 300
    assert len(whole(path, HEARD_48K).sound_48k) == 48_000  # librosa knows no timestamps


@pytest.mark.parametrize("sizes", [[1000], [7] * 150, [100, 0, 900], [0]])
@pytest.mark.parametrize("starts", [[0], [0, 300, 600], [0, 5, 10, 990], [0, 400, 5000]])
def test_slices_of_any_parts(sizes, starts):
    whole_ = np.arange(1, sum(sizes) + 1)
    parts = np.split(whole_, np.cumsum(sizes)[:-1])
    padded = np.pad(whole_, (0, 10_000))
    found = list(slices(iter(parts), starts, 300))
    assert len(found) == len(starts)
    for start, piece in zip(starts, found, strict=True):
        np.testing.assert_array_equal(piece, padded[start : start + 300])


@pytest.mark.parametrize("fidelity", ["published", "direct"])
@pytest.mark.parametrize("clip", ["film_surround48", "pal_mono48", "vfr_stereo22"])
def test_sound_of_all_layouts_and_rates_is_heard(clip, fidelity):
    (window,) = windows(path_of(clip), Wanted(LLP, views=(), fidelity=fidelity))
    assert len(window.sound) == 160_000 and window.sound_48k is None
    scale = 32768 if fidelity == "published" else 1
    assert (window.sound / scale).std() > 0.01


def test_a_file_without_sound_is_refused_unless_it_may_be_silent():
    with pytest.raises(UserError, match="no_audio.mp4: has no sound"):
        whole(path_of("no_audio"), Wanted(LLP))
    silent = whole(path_of("no_audio"), Wanted(LLP, partial=True, views=()))
    assert not silent.sound.any() and "has no sound" in silent.missing[0]
    with pytest.raises(UserError, match="no_audio.mp4: has no sound"):
        whole(path_of("no_audio"), HEARD_48K)


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_silence_at_48_khz_is_as_long_as_what_it_is_of(fidelity):
    wanted = Wanted(LLP, (), False, fidelity, partial=True, sound_48k=True)
    for window in (whole(path_of("no_audio"), wanted), *windows(path_of("no_audio"), wanted)):
        assert len(window.sound_48k) == round(48_000 * window.seconds)
        assert not window.sound_48k.any() and "has no sound" in window.missing[0]
        assert window.sound is None


def test_without_a_picture_clap_hears_and_clip_sees_the_dark():
    wanted = Wanted(LLP, ("clip",), False, "published", partial=True, sound_48k=True)
    window = whole(path_of("audio_only"), wanted)
    assert len(window.sound_48k) == golden()["audio_only"]["clap_samples"]
    assert window.pictures["clip"].shape == (10, 224, 224, 3)
    assert window.pictures["clip"].dtype == np.float32 and not window.pictures["clip"].any()
    assert "has no picture" in window.missing[0] and len(window.missing) == 1


@pytest.mark.parametrize("package", ["av", "soxr", "PIL.Image"])
def test_a_missing_package_is_named_with_the_way_to_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    opening.library.cache_clear()
    try:
        with pytest.raises(UserError, match="needs the package (av|soxr|pillow) .*pip install"):
            list(windows(path_of("short"), Wanted(LLP, fidelity="direct")))
    finally:
        monkeypatch.undo()
        opening.library.cache_clear()
