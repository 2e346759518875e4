"""A task: the classes to find, and the segments of a clip. LLP is one task.

Source of LLP: Tian, Li and Xu, "Unified Multisensory Perception: Weakly-Supervised
Audio-Visual Video Parsing", ECCV 2020, section 3.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

# The most segments of a clip. Attention compares each with each.
MOST_SEGMENTS = 60
# The order of the modality axis, everywhere.
MODALITIES = ("audio", "visual")


@dataclass(frozen=True)
class Task:
    """The names of the classes in order, and the segments that a clip is cut into.

    Attributes:
      name: a name to show.
      classes: their names, in the order of every class axis.
      segments: how many a clip has.
      seconds: the length of a segment.
    """

    name: str
    classes: tuple[str, ...]
    segments: int
    seconds: float

    @property
    def duration(self) -> float:
        """The length of a clip in seconds."""
        return self.time(self.segments)

    def segments_in(self, seconds: float | Fraction) -> int:
        """How many segments a clip of this length has: rounded, at least one, at most the task's.

        Half a segment counts as one. Lengths are taken to the microsecond, which is more than files
        know, and less than floats are off.
        """
        microseconds, segment = round(seconds * 10**6), Fraction(str(float(self.seconds))) * 10**6
        return min(max(1, math.floor(microseconds / segment + Fraction(1, 2))), self.segments)

    def time(self, boundary: int) -> float:
        """The time of a boundary between segments, in seconds; an int if it is whole.

        Args:
          boundary: segments from the clip's start.
        """
        seconds = round(boundary * self.seconds, 9)  # 0.3, not 0.30000000000000004
        return int(seconds) if seconds == int(seconds) else seconds

    def to_json(self) -> dict:
        """The task as a dict that json can store."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "segments": self.segments,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, stored: Mapping) -> "Task":
        """The task that `to_json` stored.

        Raises:
          ValueError: `stored` describes no task.
        """
        name, classes = stored["name"], tuple(stored["classes"])
        segments, seconds = stored["segments"], stored["seconds"]
        texts = all(isinstance(text, str) and text for text in (name, *classes))
        whole = type(segments) is int and segments > 0
        long = type(seconds) in (int, float) and 0 < seconds < 1e6
        if not (texts and whole and long and len(set(classes)) == len(classes) > 0):
            raise ValueError("it describes no task")
        return cls(name, classes, segments, seconds)


LLP = Task(
    name="LLP",
    classes=(
        "Speech",
        "Car",
        "Cheering",
        "Dog",
        "Cat",
        "Frying_(food)",
        "Basketball_bounce",
        "Fire_alarm",
        "Chainsaw",
        "Cello",
        "Banjo",
        "Singing",
        "Chicken_rooster",
        "Violin_fiddle",
        "Vacuum_cleaner",
        "Baby_laughter",
        "Accordion",
        "Lawn_mower",
        "Motorcycle",
        "Helicopter",
        "Acoustic_guitar",
        "Telephone_bell_ringing",
        "Baby_cry_infant_cry",
        "Blender",
        "Clapping",
    ),
    segments=10,
    seconds=1,
)

# What is made up by tfds_llp/synthetic_videos.py, to try everything from video files on.
SYNTHETIC_VIDEOS = Task(
    name="Synthetic videos",
    classes=("Bell", "Siren", "Drum", "Bird", "Engine", "Rain", "Clock", "Fan"),
    segments=10,
    seconds=1,
)
