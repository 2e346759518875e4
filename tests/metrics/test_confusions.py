"""Confusions of classes, against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.metrics.confusions import confusions


def plain(pred, true):
    classes = pred.shape[-1]
    taken = np.zeros((2, classes + 1, classes + 1))
    elsewhere = np.zeros((2, 2, classes), int)
    for video, segment, modality in np.ndindex(pred.shape[:3]):
        said = {c for c in range(classes) if pred[video, segment, modality, c]}
        right = {c for c in range(classes) if true[video, segment, modality, c]}
        for missed in right - said:
            for wrong in said - right or {classes}:
                taken[modality, missed, wrong] += 1 / max(len(said - right), 1)
        if not right - said:
            for wrong in said - right:
                taken[modality, classes, wrong] += 1
        for c in right:
            other = 1 - modality
            if pred[video, segment, other, c] and not true[video, segment, other, c]:
                elsewhere[modality, int(c in said), c] += 1
    return taken, elsewhere


@given(
    st.sampled_from([(1, 1, 1), (1, 6, 5), (5, 3, 1), (4, 10, 7), (2, 60, 4)]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.2, 0.5, 0.9]),
)
def test_confusions_are_those_of_a_plain_loop(size, seed, share):
    videos, segments, classes = size
    rng = np.random.default_rng(seed)
    pred, true = (rng.random((videos, segments, 2, classes)) < x for x in (share, 0.3))
    found, (taken, elsewhere) = confusions(pred, true), plain(pred, true)
    np.testing.assert_allclose(found.taken, taken, atol=1e-9)
    np.testing.assert_array_equal(found.elsewhere, elsewhere)
    # Every missed segment counts once.
    missed = (true & ~pred).sum(axis=(0, 1))
    np.testing.assert_allclose(found.taken[:, :-1].sum(axis=2), missed, atol=1e-9)


def test_a_miss_is_shared_among_what_is_wrongly_predicted():
    true, pred = np.zeros((2, 1, 1, 2, 4), bool)
    true[0, 0, 0, [0, 1]] = True
    pred[0, 0, 0, [2, 3]] = True
    taken = confusions(pred, true).taken
    assert taken[0, 0].tolist() == taken[0, 1].tolist() == [0, 0, 0.5, 0.5, 0]
    assert not taken[1].any() and taken[0].sum() == pytest.approx(2)
