"""Frames and CLAP's feature map become one row per segment."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.errors import UserError
from avvp_jax.streams import (
    PSEUDO_LABELS,
    PUBLISHED,
    STREAM_SETS,
    STREAMS,
    clap_pooling_matrix,
    pool_to_segments,
)
from avvp_jax.task import LLP, Task

GOLDEN = Path(__file__).parent / "golden"


def features(name: str, *videos: int, seed: int = 0) -> np.ndarray:
    stream = STREAMS[name]
    shape = (*videos, stream.rows(LLP), stream.width)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_clap_pooling_matrix_is_the_measured_one():
    measured = np.load(GOLDEN / "clap_pooling.npy")
    assert clap_pooling_matrix(LLP.segments).dtype == np.float32
    np.testing.assert_allclose(clap_pooling_matrix(LLP.segments), measured, rtol=0, atol=3e-8)


def test_clap_pooling_rows_sum_to_one_so_that_projecting_afterwards_is_the_same():
    np.testing.assert_allclose(clap_pooling_matrix(LLP.segments).sum(axis=1), 1, atol=1e-6)


def test_clap_pooling_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError):
        clap_pooling_matrix(LLP.segments)[0, 0] = 1


def test_frames_are_averaged_by_eights():
    frames = features("resnet152", 3)
    pooled = pool_to_segments(STREAMS["resnet152"], LLP, frames)
    for segment in range(10):
        expected = sum(frames[:, 8 * segment + k] for k in range(8)) / 8
        np.testing.assert_allclose(pooled[:, segment], expected, atol=1e-6)


def test_clap_is_pooled_for_any_number_of_leading_axes():
    rows = features("clap", 2, 3)
    pooled = pool_to_segments(STREAMS["clap"], LLP, rows)
    expected = np.einsum("st,abtw->absw", np.load(GOLDEN / "clap_pooling.npy"), rows)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["vggish", "r2plus1d", "clip"])
def test_streams_of_ten_rows_stay_as_they_are(name):
    rows = features(name, 2)
    assert (pool_to_segments(STREAMS[name], LLP, rows) == rows).all()


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_any_float_type_becomes_float32(name, dtype):
    rows = features(name).astype(dtype)
    pooled = pool_to_segments(STREAMS[name], LLP, rows)
    assert pooled.dtype == np.float32
    assert pooled.shape == (10, STREAMS[name].segment_width(LLP))
    expected = pool_to_segments(STREAMS[name], LLP, rows.astype(np.float32))
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


@pytest.mark.parametrize("name", STREAMS)
def test_pooled_features_pass_through(name):
    pooled = pool_to_segments(STREAMS[name], LLP, features(name, 2))
    assert (pool_to_segments(STREAMS[name], LLP, pooled) == pooled).all()


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("change", [(1, 0), (0, 1), (-1, -1)])
def test_other_shapes_are_refused_by_name(name, change):
    stream = STREAMS[name]
    wrong = np.zeros((stream.rows(LLP) + change[0], stream.width + change[1]), np.float32)
    with pytest.raises(UserError, match=name):
        pool_to_segments(stream, LLP, wrong)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["resnet152", "clap"]))
def test_pooling_before_a_projection_equals_pooling_after_it(seed, name):
    stream = STREAMS[name]
    rows = features(name, seed=seed)
    projection = np.random.default_rng(seed + 1).standard_normal((stream.width, 4)) / stream.width
    before = pool_to_segments(stream, LLP, rows) @ projection
    narrow = rows @ projection
    if name == "clap":
        after = clap_pooling_matrix(LLP.segments) @ narrow
    else:
        after = np.stack([narrow[8 * t : 8 * t + 8].mean(axis=0) for t in range(10)])
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_the_sets_name_known_streams_and_end_in_the_snippets():
    for key, names in STREAM_SETS.items():
        assert len(names) == 3
        assert names[2] == ("plain_motion" if key == "plain" else "r2plus1d")
        assert set(names) <= set(STREAMS)
    assert STREAM_SETS["base"][0] == "vggish" and STREAM_SETS["clip_clap"][0] == "clap"


def test_the_plain_streams_are_not_among_the_published():
    frames = {"resnet152_frames"}  # the same files as resnet152
    assert {*PUBLISHED, *STREAM_SETS["plain"]} == set(STREAMS) - frames
    assert not set(PUBLISHED) & set(STREAM_SETS["plain"])


def test_clap_hears_and_clip_sees():
    assert PSEUDO_LABELS["audio"].startswith("CLAP/")
    assert PSEUDO_LABELS["visual"].startswith("CLIP/")


@pytest.mark.parametrize("segments, seconds, rows", [(6, 2, 16), (20, 0.5, 4), (10, 0.96, 8)])
def test_segments_of_other_tasks_have_as_many_frames_as_they_last(segments, seconds, rows):
    task = Task("made up", ("bell",), segments, seconds)
    stream = STREAMS["resnet152"]
    assert stream.rows(task) == segments * rows
    frames = np.random.default_rng(0).standard_normal((2, segments * rows, 2048), np.float32)
    pooled = pool_to_segments(stream, task, frames)
    expected = [frames[:, rows * t : rows * (t + 1)].mean(axis=1) for t in range(segments)]
    np.testing.assert_allclose(pooled, np.stack(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("segments", [1, 6, 10, 32, 64])
def test_a_map_is_pooled_to_any_number_of_segments(segments):
    """Rows of a constant stay it, and what is early in the map is early in the clip."""
    task = Task("made up", ("bell",), segments, 1)
    assert STREAMS["clap"].rows(task) == 64
    ones = np.ones((64, 768), np.float32)
    pooled = pool_to_segments(STREAMS["clap"], task, ones)
    np.testing.assert_allclose(pooled, np.ones((segments, 768)), atol=1e-6)
    late = np.tile(np.arange(32, dtype=np.float32), 2)[:, None] * ones
    assert (np.diff(pool_to_segments(STREAMS["clap"], task, late)[:, 0]) > 0).all()
