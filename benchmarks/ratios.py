"""How many times as fast one program is as another that ran beside it, in turns."""

import statistics
from collections.abc import Sequence


def quartiles(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """The quartiles of two or more rounds' ratios of their time to ours."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return statistics.quantiles(ratios, method="inclusive")


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times as fast ours is, round by round: the median and the other quartiles."""
    low, middle, high = quartiles(theirs, ours)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
