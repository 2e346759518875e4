"""Videos of which teachers with made-up weights must say what is in them, second by second."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tests.encoders import made_up_towers as towers
from tests.media.clips import make, plain

Timeline = Sequence[int | None]  # by second, the class; None is darkness, or silence
NOT = None
RATE = 16_000
# Name -> what is seen and what is heard.
VIDEOS: dict[str, tuple[Timeline, Timeline]] = {
    "a": ([0, 0, NOT, NOT, 1, 1, 1, NOT, 2, 2], [NOT, 0, 0, 0, NOT, 1, 1, NOT, NOT, 2]),
    "b": ([NOT, 2, 2, NOT, 0, NOT, NOT, NOT, 1, 1], [2, 2, 2, NOT, NOT, NOT, 1, 1, NOT, NOT]),
}
# Between what teachers say of their class and of all others.
THRESHOLDS = {"visual": 20.0, "audio": 5.0}


def write_video(path: str | os.PathLike, seen: Timeline = (), heard: Timeline = ()) -> str:
    """A video of 8 frames a second; without a picture or without sound where nothing is given."""
    frames = [
        plain((0, 0, 0) if which is None else towers.COLOURS[which])
        for which in seen
        for _ in range(8)
    ]
    sounds = [
        np.zeros(RATE) if which is None else towers.tone(towers.PITCHES[which], 1, RATE)
        for which in heard
    ]
    sound = (np.concatenate(sounds) * 32767).astype(np.int16) if sounds else None
    return make(path, frames, 8, sound=sound, sound_codec="pcm_s16le")


def write_classes(path: pathlib.Path, **thresholds: object) -> str:
    """A classes.csv of the classes that are in these videos; thresholds of None are left out."""
    rows = [",".join(["name", *(f"{modality}_threshold" for modality in THRESHOLDS)])]
    values = ["" if x is None else str(x) for x in (THRESHOLDS | thresholds).values()]
    rows += [",".join([name, *values]) for name in towers.NAMES]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def events_of(seen: Timeline = (), heard: Timeline = ()) -> list[tuple[str, str, float, float]]:
    """(modality, class, onset, offset) of all runs of a class, sorted."""
    found = []
    for modality, timeline in (("visual", seen), ("audio", heard)):
        changes = [k for k in range(len(timeline)) if k == 0 or timeline[k] != timeline[k - 1]]
        for onset, offset in zip(changes, [*changes[1:], len(timeline)], strict=True):
            if timeline[onset] is not None:
                found.append((modality, towers.NAMES[timeline[onset]], onset, offset))
    return sorted(found)


def labels_of(timeline: Timeline) -> np.ndarray:
    """int64 [seconds, classes]."""
    labels = np.zeros((len(timeline), len(towers.NAMES)), np.int64)
    for second, which in enumerate(timeline):
        if which is not None:
            labels[second, which] = 1
    return labels
