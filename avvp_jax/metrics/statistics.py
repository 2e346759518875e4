"""Scores of several seeds: means, spreads, and whether two sets of runs differ."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from avvp_jax.metrics.scores import NAMES

Ten = Mapping[str, float]
CONFIDENCE = 0.95


def summary(seeds: Sequence[Ten]) -> dict[str, dict[str, float]]:
    """mean, std (of a sample) and ci95 of every score over seeds.

    ci95 is half the width of the mean's 95 % confidence interval by Student's t; like std it
    needs two seeds and is NaN otherwise.
    """
    table = np.array([[ten[name] for name in NAMES] for ten in seeds])
    count = len(table)
    std = table.std(axis=0, ddof=1) if count > 1 else np.full(len(NAMES), np.nan)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, max(count - 1, 1))
    rows = {"mean": table.mean(axis=0), "std": std, "ci95": quantile * std / count**0.5}
    return {name: dict(zip(NAMES, row.tolist(), strict=True)) for name, row in rows.items()}


def p_values(
    one: Sequence[Ten], other: Sequence[Ten], *, paired: bool
) -> Float[np.ndarray, " names"]:
    """Of every score, the probability of so large a difference of means between equal methods.

    Welch's t-test, or the paired t-test of runs in the same order. NaN where a side has
    one run.
    """
    sides = [np.array([[ten[name] for name in NAMES] for ten in seeds]) for seeds in (one, other)]
    if min(map(len, sides)) < 2:
        return np.full(len(NAMES), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        test = stats.ttest_rel if paired else stats.ttest_ind
        options = {} if paired else {"equal_var": False}
        return np.asarray(test(*sides, axis=0, **options).pvalue)
