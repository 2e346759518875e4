"""Windows of a long video: where they start, and how their probabilities are joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.metrics.events import VIDEO_FILTERS, predicted_segments
from avvp_jax.metrics.windows import joined, predicted, window_starts


def random_probs(windows, segments=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    probs = {
        name: rng.random((windows, classes), np.float32)
        for name in ("global_prob", "audio_prob", "visual_prob")
    }
    return probs | {"frame_prob": rng.random((windows, segments, 2, classes), np.float32)}


@pytest.mark.parametrize(
    ("segments", "window", "hop", "starts"),
    [
        (10, 10, 10, [0]),
        (3, 10, 10, [0]),
        (20, 10, 10, [0, 10]),
        (25, 10, 10, [0, 10, 15]),
        (11, 10, 10, [0, 1]),
        (20, 10, 5, [0, 5, 10]),
        (21, 10, 4, [0, 4, 8, 11]),
        (12, 10, 1, [0, 1, 2]),
    ],
)
def test_windows_start_every_hop_and_the_last_one_ends_with_the_video(
    segments, window, hop, starts
):
    assert window_starts(segments, window, hop) == starts


@given(st.integers(1, 200), st.integers(1, 12), st.data())
def test_windows_cover_every_segment_of_a_video_and_no_other(segments, window, data):
    hop = data.draw(st.integers(1, window))
    starts = window_starts(segments, window, hop)
    covered = {start + k for start in starts for k in range(window)}
    assert covered == set(range(max(segments, window)))
    assert starts == sorted(set(starts))


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


def test_a_window_that_finds_nothing_silences_its_own_segments_alone():
    probs = random_probs(2)
    probs["frame_prob"][:] = 0.9
    probs["global_prob"][0], probs["global_prob"][1] = 0.1, 0.8
    found = predicted(joined(probs, [0, 4]), "global")
    assert not found[:4].any() and found[4:].all()
