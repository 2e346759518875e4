"""Thresholding, runs and events, against plain Python and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import VIDEO_FILTERS, Decision, events_of, predicted_segments, runs

masks = st.lists(st.booleans(), min_size=1, max_size=15)


def slow_runs(active):
    """(start, end) of every maximal run, by walking."""
    found, start = [], None
    for position, value in enumerate([*active, False]):
        if value and start is None:
            start = position
        if not value and start is not None:
            found.append((start, position))
            start = None
    return found


def one_video(frame, **video):
    """Probabilities of one video, one segment, one class; `frame` is (audio, visual)."""
    probs = {"frame_prob": np.array(frame).reshape(1, 1, 2, 1)}
    return probs | {name: np.array([[value]]) for name, value in video.items()}


def test_a_probability_of_exactly_one_half_counts():
    probs = one_video((0.5, np.nextafter(0.5, 0)), global_prob=0.5)
    assert predicted_segments(probs, "global").ravel().tolist() == [True, False]


def test_float64_is_not_rounded_before_it_is_compared():
    probs = one_video((0.9, 0.9), global_prob=np.nextafter(0.5, 0))
    assert not predicted_segments(probs, "global").any()


def test_the_global_filter_applies_the_video_probability_to_both_modalities():
    frame = (0.9, 0.9)
    low, high = one_video(frame, global_prob=0.4), one_video(frame, global_prob=0.6)
    assert predicted_segments(low, "global").ravel().tolist() == [False, False]
    assert predicted_segments(high, "global").ravel().tolist() == [True, True]


def test_the_modality_filter_applies_each_modality_to_itself():
    probs = one_video((0.9, 0.9), audio_prob=0.4, visual_prob=0.6)
    assert predicted_segments(probs, "per_modality").ravel().tolist() == [False, True]


def test_the_union_of_both_modalities_counts_for_both():
    for audio, visual, counts in ((0.4, 0.6, True), (0.6, 0.4, True), (0.4, 0.4, False)):
        probs = one_video((0.9, 0.9), audio_prob=audio, visual_prob=visual)
        assert predicted_segments(probs, "union").ravel().tolist() == [counts, counts]


def test_the_mixed_filter_hears_by_the_video_and_sees_by_the_visual_probability():
    for whole, visual in ((0.4, 0.6), (0.6, 0.4)):
        probs = one_video((0.9, 0.9), global_prob=whole, visual_prob=visual)
        assert predicted_segments(probs, "mixed").ravel().tolist() == [whole > 0.5, visual > 0.5]


def test_another_threshold_is_that_of_segments_and_videos():
    probs = one_video((0.4, 0.9), audio_prob=0.4, visual_prob=0.2)
    decision = Decision("per_modality", 0.3, 0.3)
    assert predicted_segments(probs, decision).ravel().tolist() == [True, False]
    assert not predicted_segments(probs, Decision("per_modality", 0.3, 0.41)).any()
    by_class = Decision("per_modality", 0.3, ((0.41,), (0.2,)))
    assert predicted_segments(probs, by_class).ravel().tolist() == [False, True]


@pytest.mark.parametrize("video_filter", VIDEO_FILTERS)
def test_numpy_and_jax_arrays_give_the_same_segments(video_filter):
    rng = np.random.default_rng(0)
    probs = {"frame_prob": rng.random((7, 10, 2, 25), np.float32)}
    for name in ("global_prob", "audio_prob", "visual_prob"):
        probs[name] = rng.random((7, 25), np.float32)
    on_host = predicted_segments(probs, video_filter)
    traced = jax.jit(predicted_segments, static_argnums=1)(
        jax.tree.map(jnp.asarray, probs), video_filter
    )
    assert isinstance(on_host, np.ndarray) and isinstance(traced, jax.Array)
    assert on_host.dtype == traced.dtype == bool
    assert on_host.shape == (7, 10, 2, 25) and 0 < on_host.sum() < on_host.size
    np.testing.assert_array_equal(on_host, traced)


def test_another_filter_is_refused_by_name():
    with pytest.raises(UserError, match="'both'.*global.*per_modality"):
        predicted_segments(one_video((0.9, 0.9), global_prob=0.9), "both")


@given(masks)
def test_every_active_position_knows_its_run(active):
    padded = np.zeros((15, 2), bool)  # one shape, so that nothing is compiled again
    padded[: len(active), 1] = active
    start, end = runs(jnp.asarray(padded), axis=0)
    assert start.shape == end.shape == padded.shape
    for first, last in slow_runs(active):
        assert start[first:last, 1].tolist() == [first] * (last - first)
        assert end[first:last, 1].tolist() == [last] * (last - first)


@pytest.mark.parametrize("axis", [1, -2])
def test_runs_follow_any_axis(axis):
    active = np.random.default_rng(0).random((3, 8, 2)) < 0.6
    start, end = runs(jnp.asarray(active), axis=axis)
    moved = np.moveaxis(active, 1, 0)
    expected = runs(jnp.asarray(moved), axis=0)
    for found, wanted in zip((start, end), expected, strict=True):
        np.testing.assert_array_equal(np.moveaxis(np.asarray(found), 1, 0)[moved], wanted[moved])


@given(masks, masks)
def test_events_are_the_maximal_runs_of_each_class(first, second):
    length = min(len(first), len(second))
    segments = np.array([first[:length], second[:length]]).T
    expected = [(c, *run) for c in range(2) for run in slow_runs(segments[:, c].tolist())]
    assert events_of(segments) == expected
