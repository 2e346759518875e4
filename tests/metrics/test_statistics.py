"""Comparing the scores of several seeds, against the textbooks."""

import numpy as np

from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.statistics import p_values, summary
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES


def test_p_values_are_the_textbooks():
    """Welch (1938) by hand: t, degrees of freedom, and its two-sided tail."""
    from scipy import stats

    a, b = np.array([1.0, 2.0, 4.0, 5.0]), np.array([3.0, 6.0, 7.0])
    sides = [[dict.fromkeys(ALL_NAMES, x) for x in side] for side in (a, b)]
    variances = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    t = (a.mean() - b.mean()) / sum(variances) ** 0.5
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 3 + variances[1] ** 2 / 2)
    expected = 2 * stats.t.sf(abs(t), freedom)
    np.testing.assert_allclose(p_values(*sides, paired=False), [expected] * 16)
    d = a - np.array([2.0, 2.5, 4.0, 7.0])
    t = d.mean() / (d.std(ddof=1) / 2)
    paired = [sides[0], [dict.fromkeys(ALL_NAMES, x) for x in (2.0, 2.5, 4.0, 7.0)]]
    np.testing.assert_allclose(p_values(*paired, paired=True), [2 * stats.t.sf(abs(t), 3)] * 16)
    assert np.isnan(p_values(sides[0][:1], sides[1], paired=False)).all()
    assert np.isnan(summary(sides[0][:1])["ci95"]["segment/type"])


def test_scores_that_a_side_lacks_are_not_tested():
    """Runs from before there were scores of whole videos, or without dense annotations."""
    ten, six = ([dict.fromkeys(names, x) for x in (1.0, 2.0)] for names in (NAMES, VIDEO_NAMES))
    every = [dict.fromkeys(ALL_NAMES, x) for x in (1.0, 3.0)]
    for side, there in ((ten, NAMES), (six, VIDEO_NAMES)):
        found = dict(zip(ALL_NAMES, p_values(side, every, paired=False), strict=True))
        assert {name for name, p in found.items() if not np.isnan(p)} == set(there)
        assert set(summary(side)["mean"]) == set(there)
    assert np.isnan(p_values(ten, six, paired=False)).all()
