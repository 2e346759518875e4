"""Statistics of several seeds' scores: mean, spread, and tests of two sets of runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

from avvp_jax.metrics.video_scores import ALL_NAMES

# A run's scores by name, perhaps among other facts; some may be missing.
Scores = Mapping[str, object]
CONFIDENCE = 0.95
_RESAMPLES, _SEED = 1000, 0


def summary(seeds: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """mean, std and ci95 over seeds, of every score that all of them have.

    std is the sample standard deviation. ci95 is half the width of the 95 % confidence interval
    of the mean, by Student's t. Both are NaN for a single seed.
    """
    names = [name for name in ALL_NAMES if all(name in each for each in seeds)]
    table = np.array([[each[name] for name in names] for each in seeds], float)
    count = len(table)
    std = table.std(axis=0, ddof=1) if count > 1 else np.full(len(names), np.nan)
    quantile = special.stdtrit(max(count - 1, 1), (1 + CONFIDENCE) / 2)
    rows = {"mean": table.mean(axis=0), "std": std, "ci95": quantile * std / count**0.5}
    return {name: dict(zip(names, row.tolist(), strict=True)) for name, row in rows.items()}


def interval_over_videos(
    values: Float[np.ndarray, "videos names"],
) -> tuple[Float[np.ndarray, " names"], Float[np.ndarray, " names"]]:
    """The ends of 95 % intervals of means over videos, by bootstrap with a fixed seed.

    They say how much a mean would move with other videos of the same kind. NaN without videos.
    """
    videos, names = values.shape
    if not videos:
        return np.full(names, np.nan), np.full(names, np.nan)
    rng = np.random.default_rng(_SEED)
    # Of one sample at a time, because all rows of all samples would not fit.
    drawn = (rng.integers(0, videos, videos) for _ in range(_RESAMPLES))
    means = np.stack([np.bincount(rows, minlength=videos) @ values / videos for rows in drawn])
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def p_values(
    one: Sequence[Scores], other: Sequence[Scores], *, paired: bool
) -> Float[np.ndarray, " names"]:
    """The two-sided p-value of every score (ALL_NAMES): do two sets of runs differ in the mean?

    By Welch's t-test, or by the paired t-test if `paired`; then both sides list their runs in
    the same order. NaN if a side has fewer than two runs, or lacks the score.
    """
    # Imported here, because it takes a second, which every other command would wait for.
    from scipy import stats

    sides = [
        np.array([[each.get(name, np.nan) for name in ALL_NAMES] for each in seeds], float)
        for seeds in (one, other)
    ]
    if min(map(len, sides)) < 2:
        return np.full(len(ALL_NAMES), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        test = stats.ttest_rel if paired else stats.ttest_ind
        options = {} if paired else {"equal_var": False}
        return np.asarray(test(*sides, axis=0, **options).pvalue)


def holm(p: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """p-values adjusted for how many there are, by Holm's step-down method.

    If all that are below a level are called differences, the chance that any of them is none is
    below it. NaN stays, and does not count as a test.
    """
    there = ~np.isnan(p)
    found, adjusted = p[there], np.full(p.shape, np.nan)
    order = np.argsort(found, kind="stable")
    raised = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    values = np.empty(len(found))
    values[order] = np.minimum(raised, 1)
    adjusted[there] = values
    return adjusted
