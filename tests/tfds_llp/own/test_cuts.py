"""Videos cut into clips: the clips' labels are those of the whole video, cut."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfds_llp.own.cuts import SECOND, Event, as_seconds, cut, segments_in
from tfds_llp.own.dense import active

times = st.one_of(
    st.integers(0, 40 * SECOND), st.integers(0, 400).map(lambda tenth: tenth * SECOND // 10)
)
lengths = st.sampled_from([SECOND, 2 * SECOND, SECOND // 2, 960_000, 333_333])
spans = st.tuples(times, times).map(sorted).filter(lambda pair: pair[0] < pair[1])


def counted(onset: int, offset: int, segments: int, segment: int) -> list[int]:
    """The rule, slowly: segments half covered, or the first of those most covered."""
    covered = [
        Fraction(max(0, min(offset, (s + 1) * segment) - max(onset, s * segment)), segment)
        for s in range(segments)
    ]
    half = [s for s, share in enumerate(covered) if 2 * share >= 1]
    return half or ([covered.index(max(covered))] if max(covered) > 0 else [])


@given(spans, st.integers(1, 70), lengths)
def test_an_event_is_in_the_segments_that_it_half_covers_or_in_one(span, segments, segment):
    if span[0] < segments * segment:
        found = active(*span, segment, segments)
        assert [*found] == counted(*span, segments, segment)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), spans), max_size=6),
    st.integers(1, 40 * SECOND),
    st.integers(1, 60),
    lengths,
)
def test_labels_of_clips_are_those_of_the_video_cut(drawn, length, segments, segment):
    events = [Event(label, *span) for label, span in drawn]
    clips = [*cut("v", length, events, segments, segment)]
    total = segments_in(length, segment)
    whole = {
        (label, s)
        for label, (onset, offset) in drawn
        for s in counted(onset, min(offset, length), total, segment)
    }
    of_clips, first = set(), 0
    for clip in clips:
        assert clip.start == first * segment and clip.end - clip.start == clip.length > 0
        here = segments_in(clip.length, segment)
        assert here == min(segments, total - first)
        for event in clip.events:
            assert 0 <= event.onset < event.offset <= clip.length
            found = counted(event.onset, event.offset, here, segment)
            assert found  # an event that a clip has is in one of its segments
            of_clips |= {(event.label, first + s) for s in found}
        first += here
    assert first == total and clips[-1].end <= length
    assert of_clips == whole


@pytest.mark.parametrize(
    ("length", "ends"),
    [(10, [10]), (10.4, [10]), (10.5, [10, 10.5]), (0.3, [0.3]), (27.68, [10, 20, 27.68])],
)
def test_the_last_clip_stays_if_it_has_a_segment(length, ends):
    clips = cut("v", round(length * SECOND), [], 10, SECOND)
    assert [clip.end / SECOND for clip in clips] == ends


def test_a_short_event_at_a_border_is_in_one_clip_alone():
    events = [Event("Bell", 9_700_000, 10_300_000), Event("Dog", 9_400_000, 10_300_000)]
    first, second = cut("v", 20 * SECOND, events, 10, SECOND)
    assert first.events == (
        Event("Bell", 9_700_000, 10 * SECOND),
        Event("Dog", 9_400_000, 10 * SECOND),
    )
    assert second.events == ()


@pytest.mark.parametrize(
    ("time", "text"), [(0, "0"), (7_680_000, "7.68"), (10_000_000, "10"), (1, "0.000001")]
)
def test_times_are_written_with_the_digits_they_need(time, text):
    assert as_seconds(time) == text
