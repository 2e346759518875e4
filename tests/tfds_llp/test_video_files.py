"""Writing mp4 files: what is read back, and that no half of one is left."""

from pathlib import Path

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.media.windows import Wanted, windows
from avvp_jax.task import SYNTHETIC_VIDEOS
from tfds_llp import video_files
from tfds_llp.video_files import write_video

RATE, SAMPLES = 16, 16_000


def parts(seconds: int):
    """Ever brighter, and a tone that begins with the second second."""
    time = np.arange(SAMPLES) / SAMPLES
    for second in range(seconds):
        bright = np.arange(second * RATE, (second + 1) * RATE, dtype=np.uint8)
        frames = np.broadcast_to(20 + bright[:, None, None, None], (RATE, 64, 96, 3))
        tone = 0.3 * np.sin(2 * np.pi * 440 * time) * (second > 0)
        yield np.ascontiguousarray(frames), tone.astype(np.float32)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_what_was_written_is_read(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "_PREFERRED", (codec,))
    write_video(tmp_path / "x.mp4", parts(10), RATE, SAMPLES)
    wanted = Wanted(SYNTHETIC_VIDEOS, views=("r2plus1d",))
    (window,) = windows(tmp_path / "x.mp4", wanted)
    assert not window.missing
    bright = window.pictures["r2plus1d"].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(bright, 20 + 1.5 + 2 * np.arange(80), atol=3)
    loud = np.sqrt((window.sound.reshape(100, -1) ** 2).mean(axis=1))
    assert loud[:9].max() < 0.01 and abs(loud[12:98] - 0.3 / 2**0.5).max() < 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_equal_parts_give_equal_bytes(tmp_path):
    for name in ("one", "other"):
        write_video(tmp_path / f"{name}.mp4", parts(2), RATE, SAMPLES)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()


@pytest.mark.parametrize("name", ["10:30.mp4", "gs:x.mp4", "pipe:1.mp4", "a:/b.mp4", "%d.mp4"])
def test_a_name_is_no_address(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    write_video(path, parts(1), RATE, SAMPLES)
    assert path.stat().st_size and len(list(path.parent.iterdir())) == 1


def test_an_interruption_leaves_what_was_there(tmp_path):
    def interrupted():
        yield from parts(2)
        raise KeyboardInterrupt

    (tmp_path / "x.mp4").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "x.mp4", interrupted(), RATE, SAMPLES)
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]
    assert (tmp_path / "x.mp4").read_bytes() == b"before"


@pytest.mark.parametrize("place", ["nowhere/x.mp4", "file/x.mp4", "folder.mp4"])
def test_a_place_that_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4/full").mkdir(parents=True)
    with pytest.raises(UserError, match=f"{place}: cannot be written"):
        write_video(tmp_path / place, parts(1), RATE, SAMPLES)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.mp4"}
