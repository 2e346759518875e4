"""Which segments an event is in."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfds_llp.own.dense import active


@pytest.mark.parametrize(
    ("onset", "offset", "seconds", "segments", "expected"),
    [
        ("0", "10", "1", 10, range(10)),
        ("2", "3", "1", 10, [2]),
        ("2.5", "3.5", "1", 10, [2, 3]),  # half of each
        ("2.51", "3.49", "1", 10, [2]),  # half of none, and as much of both
        ("2.6", "3.45", "1", 10, [3]),
        ("4.1", "4.2", "1", 10, [4]),
        ("3.9", "4.3", "1", 4, [3]),  # the clip ends before
        ("4.1", "4.3", "1", 4, [3]),
        ("0", "0.15", "0.1", 10, [0, 1]),
        ("0", "0.149", "0.1", 10, [0]),
        ("1", "4", "2", 6, [0, 1]),
        ("0", "0.01", "2", 1, [0]),
    ],
)
def test_segments_of_an_event(onset, offset, seconds, segments, expected):
    found = active(Fraction(onset), Fraction(offset), Fraction(seconds), segments)
    assert list(found) == list(expected)


TIMES = st.fractions(0, 12, max_denominator=40)


@given(TIMES, TIMES, st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(7, 3)]),
       st.integers(1, 12))  # fmt: skip
def test_it_is_what_a_slow_count_finds(a, b, seconds, segments):
    onset, offset = min(a, b), max(a, b)
    covered = [
        max(Fraction(0), min(offset, (k + 1) * seconds) - max(onset, k * seconds))
        for k in range(segments)
    ]
    half = [k for k in range(segments) if covered[k] * 2 >= seconds]
    if onset < offset and any(covered):
        expected = half or [covered.index(max(covered))]
        assert list(active(onset, offset, seconds, segments)) == expected
    else:
        assert len(active(onset, offset, seconds, segments)) == 1
