"""Scores of whole videos against plain Python, for any number of videos and classes, and ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avvp_jax.errors import UserError
from avvp_jax.metrics.video_scores import (
    ALL_NAMES,
    VIDEO_NAMES,
    average_precision,
    by_class,
    device_video_scores,
    video_scores,
    whole_probabilities,
)
from tests.metrics import plain_scores

sizes = st.tuples(st.integers(1, 12), st.integers(1, 41))
# How many different probabilities there are: with one, all videos tie.
levels = st.sampled_from([1, 2, 3, 16, 2**20])
seeds = st.integers(0, 2**32 - 1)


def drawn(size, level, seed, share, has_global=True):
    """Probabilities, many of them equal, and labels; a class may have no positive video."""
    rng = np.random.default_rng(seed)
    names = ("global_prob", "audio_prob", "visual_prob")[not has_global :]
    probs = {name: (rng.integers(0, level + 1, size) / level).astype(np.float32) for name in names}
    return probs, (rng.random(size) < share).astype(np.float32)


@given(sizes, levels, seeds, st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.booleans())
def test_scores_are_those_of_a_plain_count(size, level, seed, share, has_global):
    probs, label = drawn(size, level, seed, share, has_global)
    wholes = whole_probabilities(probs)
    wanted, of_class = plain_scores.of_videos(probs, label)
    found = video_scores(wholes, label)
    assert found == pytest.approx({k: v for k, v in wanted.items() if v is not None}, abs=1e-9)
    for name, row in zip(VIDEO_NAMES, by_class(wholes, label), strict=True):
        plain = [np.nan if x is None else x for x in of_class[name]]
        np.testing.assert_allclose(row, plain, atol=1e-9)


@settings(max_examples=25)
@given(
    st.sampled_from([(1, 1), (7, 1), (9, 7)]),  # each is another program, and so is each padding
    levels,
    seeds,
    st.sampled_from([0, 2]),
    st.booleans(),
)
def test_the_device_agrees_and_padding_does_not_count(size, level, seed, padding, has_global):
    probs, label = drawn(size, level, seed, 0.3, has_global)
    found = video_scores(whole_probabilities(probs), label)
    wanted = [found.get(name, np.nan) for name in VIDEO_NAMES]
    rng = np.random.default_rng(seed)
    rows = rng.permutation(size[0] + padding)  # padding may stand anywhere, and say anything
    weight = (rows < size[0]).astype(np.float32)

    def padded(x):
        return np.concatenate([x, rng.random((padding, size[1]), np.float32).round()])[rows]

    on_device = {name: jnp.asarray(padded(x)) for name, x in probs.items()}
    scored = _compiled(whole_probabilities(on_device), jnp.asarray(padded(label)), weight)
    np.testing.assert_allclose(scored, wanted, atol=1e-3)
    alone = {name: jnp.asarray(x) for name, x in probs.items()}
    unpadded = _compiled(whole_probabilities(alone), jnp.asarray(label))
    np.testing.assert_allclose(unpadded, wanted, atol=1e-3)


_compiled = jax.jit(device_video_scores)


def test_equal_probabilities_are_taken_together():
    """By hand: at 0.8 one of two is positive, at 0.3 two of four; recall rises by a half each."""
    prob, positive = np.array([0.8, 0.3, 0.8, 0.3]), np.array([True, True, False, False])
    assert average_precision(prob, positive) == 0.5 * 0.5 + 0.5 * 0.5
    assert average_precision(prob[::-1], positive[::-1]) == 0.5
    assert average_precision(np.array([0.9, 0.4, 0.1]), np.array([True, False, True])) == (
        pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    )


def test_a_half_is_a_find():
    wholes = np.full((2, 3, 1), 0.5, np.float32)
    scores = video_scores(wholes, np.array([[1.0], [0.0]]))
    assert scores["video/f"] == pytest.approx(100 * 2 / 3)


def test_of_labels_without_any_positive_there_are_no_scores():
    wholes, label = np.full((3, 3, 2), 0.7, np.float32), np.zeros((3, 2))
    assert video_scores(wholes, label) == {} and np.isnan(by_class(wholes, label)).all()
    assert np.isnan(device_video_scores(jnp.asarray(wholes), jnp.asarray(label))).all()


def test_names_go_on_from_the_ten():
    assert ALL_NAMES[10:] == VIDEO_NAMES
    assert VIDEO_NAMES == (
        *("video/f", "video/ap", "video/audio_f", "video/audio_ap"),
        *("video/visual_f", "video/visual_ap"),
    )


@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (0, 4)])
def test_labels_of_other_videos_or_classes_are_refused(shape):
    with pytest.raises(UserError):
        video_scores(np.zeros((shape[0] and 3, 3, 4), np.float32), np.zeros(shape))
