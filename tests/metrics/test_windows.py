"""How the probabilities of a long video's windows are joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.metrics.events import VIDEO_FILTERS, predicted_segments
from avvp_jax.metrics.windows import joined, predicted


def random_probs(windows, segments=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    probs = {
        name: rng.random((windows, classes), np.float32)
        for name in ("global_prob", "audio_prob", "visual_prob")
    }
    return probs | {"frame_prob": rng.random((windows, segments, 2, classes), np.float32)}


@pytest.mark.parametrize("video_filter", VIDEO_FILTERS)
def test_windows_side_by_side_stay_as_they_are(video_filter):
    probs = random_probs(3)
    whole = joined(probs, [0, 4, 8])
    np.testing.assert_array_equal(whole["frame_prob"], probs["frame_prob"].reshape(12, 2, 3))
    np.testing.assert_array_equal(whole["audio_prob"], np.repeat(probs["audio_prob"], 4, axis=0))
    each = predicted_segments(probs, video_filter).reshape(12, 2, 3)
    np.testing.assert_array_equal(predicted(whole, video_filter), each)


def test_probabilities_of_overlapping_windows_are_averaged():
    probs = random_probs(2)
    whole = joined(probs, [0, 3])
    frames = probs["frame_prob"]
    expected = [*frames[0, :3], (frames[0, 3] + frames[1, 0]) / 2, *frames[1, 1:]]
    np.testing.assert_allclose(whole["frame_prob"], expected, rtol=1e-6)
    glob = probs["global_prob"]
    expected = [glob[0]] * 3 + [(glob[0] + glob[1]) / 2] + [glob[1]] * 3
    np.testing.assert_allclose(whole["global_prob"], expected, rtol=1e-6)


def test_a_window_that_starts_within_a_segment_counts_by_its_share():
    probs = random_probs(2)
    whole = joined(probs, [0, 2.25])
    frames = probs["frame_prob"]
    np.testing.assert_allclose(whole["frame_prob"][:2], frames[0, :2], rtol=1e-6)
    third = (frames[0, 2] + 0.75 * frames[1, 0]) / 1.75
    np.testing.assert_allclose(whole["frame_prob"][2], third, rtol=1e-5)
    fourth = (frames[0, 3] + 0.25 * frames[1, 0] + 0.75 * frames[1, 1]) / 2
    np.testing.assert_allclose(whole["frame_prob"][3], fourth, rtol=1e-5)
    assert len(whole["frame_prob"]) == len(whole["global_prob"]) == 7
    np.testing.assert_allclose(whole["frame_prob"][6], frames[1, 3], rtol=1e-5)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=5))
def test_an_average_lies_between_what_is_averaged(steps):
    """Windows of four segments, each within three of the one before: every segment is in one."""
    starts = np.cumsum([0, *steps]).tolist()
    probs = random_probs(len(starts))
    whole = joined(probs, starts)
    for name, values in probs.items():
        assert values.min() - 1e-6 <= whole[name].min() <= whole[name].max() <= values.max() + 1e-6


def test_a_window_that_finds_nothing_silences_its_own_segments_alone():
    probs = random_probs(2)
    probs["frame_prob"][:] = 0.9
    probs["global_prob"][0], probs["global_prob"][1] = 0.1, 0.8
    found = predicted(joined(probs, [0, 4]), "global")
    assert not found[:4].any() and found[4:].all()
