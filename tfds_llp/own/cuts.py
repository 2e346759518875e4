"""Videos cut into clips side by side, with their events.

Times are whole microseconds, so that a half of a segment is exactly that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tfds_llp.own.dense import active

SECOND = 1_000_000
_LONGEST = 10**6 * SECOND  # eleven days


@dataclass(frozen=True)
class Event:
    """What is both heard and seen, from `onset` to `offset` (exclusive)."""

    label: str
    onset: int
    offset: int


@dataclass(frozen=True)
class LabelledClip:
    """A clip of a video, or a whole video, and what occurs in it.

    Attributes:
        video: its name.
        start, end: the part of the video; None for a whole one.
        length: of the clip.
        events: relative to the clip.
    """

    video: str
    start: int | None
    end: int | None
    length: int
    events: tuple[Event, ...]

    @property
    def name(self) -> str:
        """NAME of a whole video, NAME_START_END of a part."""
        if self.start is None:
            return self.video
        return f"{self.video}_{as_seconds(self.start)}_{as_seconds(self.end)}"


def microseconds(seconds: Decimal) -> int | None:
    """A time that somebody else wrote, rounded; None if it is none, or beyond eleven days."""
    if not seconds.is_finite() or abs(seconds) > _LONGEST // SECOND:
        return None
    return int((seconds * SECOND).to_integral_value())


def as_seconds(time: int) -> str:
    """A time in seconds with the digits that it needs: 7, 7.68."""
    return f"{Decimal(time) / SECOND:f}"


def segments_in(length: int, segment: int) -> int:
    """How many segments something has: its length over theirs, a half rounded up, at least one."""
    return max(1, (2 * length + segment) // (2 * segment))


def cut(
    video: str, length: int, events: Sequence[Event], segments: int, segment: int
) -> Iterator[LabelledClip]:
    """The clips of a video, side by side from its start.

    The last one is shorter, and is left out if it would have no segment. A clip has an event if one
    of its segments has, by `dense.active` of the whole video.

    Args:
        segments, segment: of a clip of full length.
    """
    total = segments_in(length, segment)
    events = [Event(e.label, max(e.onset, 0), min(e.offset, length)) for e in events]
    events = [e for e in events if e.onset < min(e.offset, total * segment)]
    places = [active(event.onset, event.offset, segment, total) for event in events]
    for first in range(0, total, segments):
        stop = min(first + segments, total)
        start, end = first * segment, min(stop * segment, length)
        inside = tuple(
            Event(event.label, max(event.onset, start) - start, min(event.offset, end) - start)
            for event, place in zip(events, places, strict=True)
            if place[0] < stop and place[-1] >= first
        )
        yield LabelledClip(video, start, end, end - start, inside)
