"""Clips: whole videos, or parts of longer ones, by the names that tables give them."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from avvp_jax.media.folders import ENDINGS
from avvp_jax.storage.names import normal
from avvp_jax.task import Task

# A time in seconds: 3, 3.5, or 3,5 as a spreadsheet of another language writes it.
_TIME = re.compile(r"[0-9]{1,9}(?:[.,][0-9]{0,9})?", re.ASCII)
_SECOND = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_CUT = re.compile(rf"(.+)_({_SECOND})_({_SECOND})", re.ASCII)


@dataclass(frozen=True)
class Clip:
    """A clip, as long as the task or shorter.

    Attributes:
      name: of its own; its feature files have it.
      video: the name of the video that it is cut from.
      start: in seconds of the video; None from its beginning.
      end: in seconds of the video; None until its end.
    """

    name: str
    video: str
    start: float | None = None
    end: float | None = None

    @property
    def span(self) -> tuple[Fraction, Fraction | None]:
        """Start and end, exactly."""
        start = Fraction(0) if self.start is None else exact(self.start)
        return start, None if self.end is None else exact(self.end)

    @property
    def seconds(self) -> Fraction | None:
        """How long it is; None of a whole video."""
        start, end = self.span
        return None if end is None else end - start


def exact(seconds: float) -> Fraction:
    """The number that a float was written as: 0.1 is a tenth."""
    return Fraction(str(float(seconds)))


def time_of(text: str) -> Fraction | None:
    """The time that a text is, in seconds; None if it is none."""
    return Fraction(text.replace(",", ".").rstrip(".")) if _TIME.fullmatch(text) else None


def name_in_table(text: str) -> str:
    """A name as a table has it, without the ending of a video file."""
    stem, ending = os.path.splitext(text)
    return normal(stem.strip() if ending.lower() in ENDINGS else text)


def cut_of(name: str) -> tuple[str, Fraction, Fraction] | None:
    """Video, start and end of a name NAME_START_END; None of another name."""
    found = _CUT.fullmatch(name)
    return (found[1], Fraction(found[2]), Fraction(found[3])) if found else None


def cut(video: str, start: Fraction, end: Fraction, name: str = "") -> Clip:
    """A part of a video; its name, unless it has one, is NAME_START_END."""
    name = name or f"{video}_{_shown(start)}_{_shown(end)}"
    return Clip(name, video, float(start), float(end))


def clip_named(name: str, known: Collection[str]) -> Clip:
    """The clip of a name: a part of a video if only that video is known, else a whole video."""
    parts = cut_of(name)
    if parts and name not in known and parts[0] in known:
        return cut(*parts, name=name)
    return Clip(name, name)


def same_clip(name: str) -> str:
    """A name NAME_START_END with its times in one way of writing; another name as it is."""
    parts = cut_of(name)
    return cut(*parts).name if parts else name


def stem_of(clip: Clip) -> str:
    """What clips of one video have in common, whether that video is there or not."""
    parts = cut_of(clip.video)
    return parts[0] if parts else clip.video


def too_long(clip: Clip, task: Task) -> bool:
    """Whether a part of a video has more segments than the task."""
    longest = (task.segments + Fraction(1, 2)) * exact(task.seconds)
    return clip.seconds is not None and clip.seconds >= longest


def _shown(seconds: Fraction) -> str:
    """A time without needless digits."""
    return f"{float(seconds):.9f}".rstrip("0").rstrip(".")
