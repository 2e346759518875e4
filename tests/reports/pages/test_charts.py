"""Charts have a scale whatever the numbers are."""

import math

import pytest

from avvp_jax.reports.pages.charts import line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1e-13), (0, 5e-324), (1, 1 + 2.3e-16), (1e12, 1e12 + 1e-4), (1e16, 1e16 + 2), (5, 5)]
    + [(0, 0), (-3e38, 3e38), (1e-14, 1e-14), (-2.5, 7), (-1e-9, -1e-9), (0.693147, 0.6931471)],
)
def test_ticks_hold_all_numbers_and_differ(low, high):
    found = ticks(low, high, 3)
    assert found == sorted(set(found)) and 2 <= len(found) <= 6
    assert found[0] <= low + 1e-9 * abs(low) and found[-1] >= high - 1e-9 * abs(high)


@pytest.mark.parametrize("size", [1e-320, 1e-30, 1e-13, 1.0, 3e38])
def test_curves_of_every_size_are_drawn_within_their_frame(size):
    chart = line_chart([1, 2, 3], [size, 0.5 * size, math.nan], marks=[2])
    places = [tuple(map(float, point.split(","))) for point in chart["line"].split()]
    assert len(places) == 2
    for x, y in places:
        assert chart["left"] <= x <= chart["right"] and chart["top"] <= y <= chart["bottom"]
