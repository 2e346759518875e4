"""Parts of files as clips of their own."""

import dataclasses

import numpy as np
import pytest

from avvp_jax.encoders.extractor import Extractor
from avvp_jax.media.opening import MediaError
from avvp_jax.media.parts import Part, clip
from avvp_jax.media.windows import Wanted, windows
from avvp_jax.media.workers import read_all
from avvp_jax.streams import STREAM_SETS, streams_of
from avvp_jax.task import Task
from tests.media.clips import make

TASK = Task("chimes", ("Bell",), 3, 2)  # six seconds


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Nine seconds, in each of which picture and sound are others."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (9, 3), np.uint8)
    pictures = [np.full((32, 32, 3), colours[frame // 10], np.uint8) for frame in range(90)]
    sound = np.concatenate([rng.integers(-9000, 9000, 16_000) * (k + 1) // 9 for k in range(9)])
    path = tmp_path_factory.mktemp("videos") / "a.mkv"
    return make(path, pictures, rate=10, sound=sound.astype(np.int16), sound_codec="pcm_s16le")


@pytest.mark.parametrize(
    "seconds,segments",
    [(0.1, 1), (2.9, 1), (3.0, 2), (4.99, 2), (5, 3), (6, 3), (60, 3), (0.9999999999, 1)],
)
def test_a_clip_has_as_many_segments_as_it_lasts(seconds, segments):
    assert TASK.segments_in(seconds) == segments


@pytest.mark.parametrize("fidelity", ["direct", "published"])
@pytest.mark.parametrize("start,end,segments", [(1, 7, 3), (2.5, 6.5, 2), (6, 9, 2), (8, None, 1)])
def test_a_part_is_a_window_of_its_own_length(video, fidelity, start, end, segments):
    wanted = Wanted(TASK, ("r2plus1d",), fidelity=fidelity, partial=True)
    made = clip(video, wanted, Part(video, start, end))
    assert (made.segments, made.start) == (segments, start)
    short = dataclasses.replace(TASK, segments=segments)
    assert len(made.pictures["r2plus1d"]) == 8 * segments
    # As in the window that begins there.
    hop = dataclasses.replace(wanted, task=short, hop=0.5)
    window = next((w for w in windows(video, hop) if w.start == start), made)
    assert window is not made or start in (6, 8)  # no window begins so late
    for view in made.pictures:
        np.testing.assert_array_equal(made.pictures[view], window.pictures[view])
    np.testing.assert_array_equal(made.sound, window.sound)
    assert max(made.found) <= (end or 9) - start + 1e-6


@pytest.mark.parametrize("fidelity", ["direct", "published"])
def test_a_whole_file_is_read_as_by_windows(video, fidelity):
    wanted = Wanted(dataclasses.replace(TASK, segments=6), fidelity=fidelity, partial=True)
    made = clip(video, wanted, Part(video))
    assert made.segments == 5  # of nine seconds
    (window,) = windows(
        video, dataclasses.replace(wanted, task=dataclasses.replace(TASK, segments=5))
    )
    np.testing.assert_array_equal(made.pictures["resnet"], window.pictures["resnet"])
    np.testing.assert_array_equal(made.sound, window.sound)


def test_the_first_part_of_a_longer_file_is_read(video):
    made = clip(video, Wanted(TASK, partial=True), Part(video))
    assert (made.segments, made.start, made.seconds) == (3, 0, 6)


def test_a_part_that_begins_behind_the_end_is_refused(video):
    with pytest.raises(MediaError, match="ends after 9.00 s; a clip of it begins at 9.5 s"):
        clip(video, Wanted(TASK), Part(video, 9.5, 12))


def test_processes_read_parts_and_the_extractor_makes_their_rows(video):
    extractor = Extractor(streams_of(STREAM_SETS["plain"], {}), TASK)
    parts = [Part(video, 0, 2), Part(video, 1, 9), Part(video)]
    reads = read_all(parts, extractor.wanted("direct", most=1), workers=1)
    found = {r.path: rows for r, rows in extractor.features(reads) if r.window is not None}
    assert list(found) == parts
    assert [len(found[part]["plain_sound"]) for part in parts] == [2, 6, 6]
    assert [len(found[part]["plain_frames"]) for part in parts] == [1, 3, 3]  # already averaged
    assert [len(found[part]["plain_motion"]) for part in parts] == [2, 6, 6]
