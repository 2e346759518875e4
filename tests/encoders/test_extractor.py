"""Windows become the rows that a stream's files have."""

import dataclasses

import numpy as np
import pytest

from avvp_jax.encoders import log_mel, plain
from avvp_jax.encoders.extractor import SOURCES, Extractor
from avvp_jax.media.views import VIEWS
from avvp_jax.media.windows import Window
from avvp_jax.media.workers import Read
from avvp_jax.streams import STREAM_SETS, STREAMS, encoded, pool_to_segments, streams_of
from avvp_jax.task import LLP

PLAIN = streams_of(STREAM_SETS["plain"], {})


def window_of(task, seed=0, seconds=None):
    """A window of noise; its sound may be shorter."""
    rng = np.random.default_rng(seed)
    pictures = {
        view: rng.integers(0, 256, (how.frames * task.segments, *how.dark, 3), np.uint8)
        for view, how in VIEWS.items()
        if view == "r2plus1d"
    }
    samples = int(16_000 * (task.duration if seconds is None else seconds))
    sound = rng.uniform(-0.5, 0.5, samples).astype(np.float32)
    return Window(0.0, task.duration, pictures, sound, ())


@pytest.mark.parametrize("segments,seconds", [(10, 1), (6, 2), (4, 0.5), (5, 1.5), (3, 0.96)])
def test_any_task_gets_rows_that_its_files_may_have(segments, seconds):
    task = dataclasses.replace(LLP, segments=segments, seconds=seconds)
    extractor = Extractor(PLAIN, task)
    found = extractor.finish(extractor.start(window_of(task)))
    for stream in PLAIN:
        rows = found[stream.name]
        assert rows.dtype == np.float32 and rows.shape[1] == stream.width
        assert len(rows) in (stream.rows(task), segments)
        assert pool_to_segments(stream, task, rows).shape == (segments, stream.width)


def test_each_second_is_heard_and_seen_alone():
    window, extractor = window_of(LLP), Extractor(PLAIN, LLP)
    found = extractor.finish(extractor.start(window))
    seconds = window.sound.reshape(10, 16_000)
    expected = plain.sound(np.concatenate([log_mel.log_mels(each) for each in seconds]))
    np.testing.assert_allclose(found["plain_sound"], expected, rtol=1e-5, atol=1e-6)
    frames = window.pictures["r2plus1d"]
    np.testing.assert_array_equal(found["plain_frames"], plain.frames(frames))
    clips = frames.reshape(10, 8, 112, 112, 3)
    np.testing.assert_array_equal(found["plain_motion"], plain.motion(clips))


def test_a_second_of_other_sound_changes_its_row_alone():
    window, extractor = window_of(LLP), Extractor(PLAIN, LLP)
    before = extractor.finish(extractor.start(window))["plain_sound"]
    window.sound[5 * 16_000 : 6 * 16_000] = 0
    after = extractor.finish(extractor.start(window))["plain_sound"]
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [5]


def test_sound_that_ends_too_early_has_fewer_rows_and_none_is_left_out():
    extractor = Extractor(PLAIN, LLP)
    found = extractor.finish(extractor.start(window_of(LLP, seconds=4.2)))
    assert len(found["plain_sound"]) == 4 and len(found["plain_frames"]) == 80
    assert "plain_sound" not in extractor.finish(extractor.start(window_of(LLP, seconds=0.9)))


def test_the_sound_after_a_clip_is_not_heard():
    extractor = Extractor(PLAIN, LLP)
    found = extractor.finish(extractor.start(window_of(LLP, seconds=31)))
    assert len(found["plain_sound"]) == 10


def test_features_come_with_what_they_were_made_of():
    """In order, each file's end after its windows, and without the pictures."""
    windows = [window_of(LLP, seed) for seed in range(3)]
    reads = [Read("a", windows[0]), Read("a", windows[1]), Read("a", None)]
    reads += [Read("b", None, None), Read("c", windows[2]), Read("c", None)]
    extractor = Extractor(PLAIN, LLP)
    found = list(extractor.features(reads))
    assert [(read.path, read.window is None) for read, _ in found] == [
        *(("a", False), ("a", False), ("a", True)),
        *(("b", True), ("c", False), ("c", True)),
    ]
    made = [features for read, features in found if read.window is not None]
    for window, features in zip(windows, made, strict=True):
        expected = extractor.finish(extractor.start(window))
        for name in expected:
            np.testing.assert_array_equal(features[name], expected[name])
    assert not any(read.window.pictures for read, _ in found if read.window)


def test_only_what_is_asked_for_is_made():
    extractor = Extractor(PLAIN, LLP)
    reads = [Read("a", window_of(LLP)), Read("a", None)]
    (_, features), _ = extractor.features(reads, {"a": ["plain_motion"]})
    assert list(features) == ["plain_motion"]


def test_what_is_read_is_what_the_streams_are_made_of():
    wanted = Extractor(PLAIN, LLP).wanted("direct", 5.0)
    assert (wanted.views, wanted.sound, wanted.hop) == (("r2plus1d",), True, 5.0)
    assert not Extractor(PLAIN[1:], LLP).wanted("direct").sound
    assert Extractor(PLAIN[:1], LLP).wanted("published").views == ()


def test_every_stream_can_be_made_of_videos():
    assert set(SOURCES) == set(encoded(STREAMS))
