"""Videos of any length, cut into windows."""

import contextlib
import dataclasses
import gc
import os
import pathlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.media.opening import MediaError
from avvp_jax.media.windows import Wanted, starts_of, whole, windows
from avvp_jax.task import LLP
from tests.media.clips import crcs, golden, make, number_of, numbered, path_of, plain, tone

ROOT = pathlib.Path(__file__).parent.parent.parent
SHORT = dataclasses.replace(LLP, segments=2)  # windows of two seconds


@pytest.mark.parametrize(
    "seconds,hop,expected",
    [
        (10, 10, [0]),
        (10.03, 10, [0]),
        (10.5, 10, [0]),
        (10.6, 10, [0, 0.6]),
        (4, 10, [0]),
        (25, 10, [0, 10, 15]),
        (30, 10, [0, 10, 20]),
        (25, 7.5, [0, 7.5, 15]),
        (26, 7.5, [0, 7.5, 15, 16]),
        (0, 10, [0]),
    ],
)
def test_windows_cover_a_video_and_the_last_is_moved_back(seconds, hop, expected):
    starts = starts_of(seconds, 10, hop, 0.5)
    np.testing.assert_allclose([float(start) for start in starts], expected, atol=1e-9)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Seven seconds whose frames say which they are, and silence with a tone in second 5."""
    sound = np.zeros(16_000 * 7, np.int16)
    sound[16_000 * 5 : 16_000 * 6] = tone(1)
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    return make(path, numbered(112), 16, "ffv1", sound=sound, sound_codec="pcm_s16le")


@pytest.mark.parametrize("hop", [None, 1.0, 0.5])
@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_windows_show_and_play_what_is_at_their_time(long, fidelity, hop):
    found = list(windows(long, Wanted(SHORT, fidelity=fidelity, hop=hop, sound_48k=True)))
    assert [w.start for w in found] == [float(s) for s in starts_of(7, 2, hop or 2, 0.5)]
    assert found[-1].start == 5 and not any(w.missing for w in found)
    for window in found:
        shown = [number_of(picture) for picture in window.pictures["resnet"]]
        times = window.start + (np.arange(16) + 0.5) / 8
        # Published frames are 0.15 s late on average, and one of 18 comes from the window's end.
        allowed = 0.27 if fidelity == "published" else 0.04
        assert np.abs(np.array(shown) / 16 - times).max() <= allowed, window.start
        assert window.pictures["r2plus1d"].shape == (16, 112, 112, 3)
        for rate, sound in ((16_000, window.sound), (48_000, window.sound_48k)):
            loud = np.abs(sound.reshape(2 * rate, -1)[:, 0]) > sound.max() / 2 + 1e-3
            expected = np.zeros(2 * rate, bool)
            begins = int(rate * (5 - window.start))
            expected[max(0, begins) : max(0, begins + rate)] = True
            assert loud[~expected].mean() < 0.01 if (~expected).any() else True
            assert not expected.any() or loud[expected].mean() > 0.2


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_windows_cut_sound_at_48_khz_out_of_that_of_the_whole_video(fidelity):
    wanted = Wanted(LLP, (), False, fidelity, hop=7.5, sound_48k=True)
    found, heard = list(windows(path_of("long"), wanted)), whole(path_of("long"), wanted).sound_48k
    assert [window.start for window in found] == [0, 7.5, 15]
    for window in found:
        begins = round(48_000 * window.start)
        np.testing.assert_array_equal(window.sound_48k, heard[begins : begins + 480_000])


@pytest.mark.golden
@pytest.mark.parametrize("clip", ["ntsc_stereo441", "film_surround48", "pal_mono48"])
def test_a_clip_of_a_data_set_is_one_window_with_published_frames(clip):
    wanted = Wanted(LLP, fidelity="published", sound_48k=True)
    (window,) = windows(path_of(clip), wanted)
    assert len(window.sound_48k) == golden()[clip]["clap_samples"] > 480_000
    assert crcs(window.pictures["resnet"]) == list(golden()[clip]["resnet_crop_crc"])
    np.testing.assert_array_equal(window.sound, whole(path_of(clip), wanted).sound[:160_000])
    assert window.missing == ()


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_a_short_video_goes_on_with_its_last_frame_and_silence_and_says_so(fidelity):
    (window,) = windows(path_of("short"), Wanted(LLP, fidelity=fidelity, sound_48k=True))
    tail = window.pictures["resnet"][40:].astype(int)
    assert np.abs(tail - tail[-1]).mean() < 2  # encoding again changes a little
    assert window.sound.shape[0] == 160_000 and not window.sound[-70_000:].any()
    assert window.sound_48k.shape[0] == 480_000 and not window.sound_48k[-210_000:].any()
    picture, sound = window.missing
    assert "no picture in the last 5.7 s" in picture and "no sound in the last 5.7 s" in sound


def test_a_file_that_is_cut_off_says_how_much_is_there():
    (window,) = windows(path_of("truncated"), Wanted(LLP))
    assert window.missing[0] == "is cut off after 6.0 of 10.1 s"
    assert "no picture in the last 4.0 s" in window.missing[1]
    assert "no sound in the last 4.2 s" in window.missing[2]
    spread = whole(path_of("truncated"), Wanted(LLP))
    assert len(spread.sound) == 160_800 and spread.pictures["resnet"].shape[0] == 80
    (heard,) = windows(path_of("truncated"), Wanted(LLP, (), False, sound_48k=True))
    assert "no sound in the last 4.2 s" in heard.missing[1] and len(heard.missing) == 2


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_pictures_that_stand_still_for_windows_are_shown_in_them(tmp_path, fidelity):
    """A variable rate: a picture, nothing for nine seconds, a second picture."""
    first, second = numbered(31)[::30]
    path = make(tmp_path / "x.mkv", [(0, first), (1, first), (225, second), (250, second)],
                codec="ffv1")  # fmt: skip
    found = list(windows(path, Wanted(SHORT, fidelity=fidelity, sound=False)))
    shown = [[number_of(picture) for picture in window.pictures["resnet"]] for window in found]
    assert [window.start for window in found][:5] == [0, 2, 4, 6, 8]
    assert all(set(each) == {0} for each in shown[:4])
    assert set(shown[4]) == {0, 30} and set(shown[-1][-6:]) == {30}


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_memory_does_not_grow_with_a_videos_length(tmp_path, fidelity):
    """tracemalloc sees NumPy's arrays, which hold all that is decoded."""
    peaks = []
    for seconds in (4, 16):
        path = make(tmp_path / f"{seconds}.mkv", [plain()] * 5 * seconds, 5, sound=tone(seconds))
        tracemalloc.start()
        wanted = Wanted(SHORT, views=("r2plus1d", "clip"), fidelity=fidelity, sound_48k=True)
        count = sum(1 for _ in windows(path, wanted))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == seconds // 2
    assert peaks[1] < 1.3 * peaks[0]


def test_windows_that_are_not_used_leave_no_file_open(long):
    gc.collect()  # what other tests have left must not be closed meanwhile
    before = opened()
    for fidelity in ("published", "direct"):
        started = windows(long, Wanted(SHORT, fidelity=fidelity, hop=0.5))
        next(started)
        started.close()
    assert opened() <= before


def opened() -> set[tuple[str, str]]:
    """The files that this process has open, by their numbers."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


@pytest.mark.parametrize("hop", [0, -1, 11, 0.01, float("nan")])
def test_windows_cannot_be_any_distance_apart(hop):
    with pytest.raises(UserError, match="s apart"):
        Wanted(LLP, hop=hop)


def test_a_fidelity_that_is_not_known_is_refused():
    with pytest.raises(UserError, match="'exact'"):
        Wanted(LLP, fidelity="exact")


def test_what_is_not_wanted_is_not_needed():
    (heard,) = windows(path_of("audio_only"), Wanted(LLP, views=()))
    assert heard.pictures == {} and heard.sound.shape == (160_000,)
    (seen,) = windows(path_of("no_audio"), Wanted(LLP, sound=False))
    assert seen.sound is None
    with pytest.raises(MediaError, match="has no picture and only sound"):
        list(windows(path_of("audio_only"), Wanted(LLP)))


def test_importing_needs_neither_the_packages_for_videos_nor_jax():
    code = """
import sys
sys.modules.update(dict.fromkeys(("av", "PIL", "soxr", "jax")))
from avvp_jax.media import windows, worker, workers
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    assert program.returncode == 0, program.stderr.decode()
