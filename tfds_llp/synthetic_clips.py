"""The clips of the synthetic videos: what is known of each without making it, and its file."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from avvp_jax.task import MODALITIES, SYNTHETIC_VIDEOS
from tfds_llp.synthetic import video_id
from tfds_llp.synthetic_labels import teacher_labels
from tfds_llp.synthetic_looks import FRAMES, Film
from tfds_llp.synthetic_scenes import draw_scenes
from tfds_llp.synthetic_sounds import RATE, Soundtrack
from tfds_llp.video_files import write_video

SPLITS = ("train", "val", "test", "new")
"""Those of the data set, and videos in none of them."""

Segments = UInt8[np.ndarray, "seconds classes"]


@dataclass(frozen=True)
class Clip:
    """A video that depends on these numbers alone, with labels as those of SyntheticVideo.

    Attributes:
        seed: 0 or more; another seed gives other videos of the same classes.
        split: one of SPLITS.
        index: 0 or more.
        seconds: how long it is.
    """

    seed: int
    split: str
    index: int
    seconds: int = int(SYNTHETIC_VIDEOS.duration)

    @property
    def id(self) -> str:
        """Like YouTube's; different for all clips of a seed and length."""
        return self._drawn["id"]

    @property
    def filename(self) -> str:
        """As in annotation files."""
        return f"{self.id}_0_{self.seconds}"

    @property
    def audio_label(self) -> Segments:
        return self._drawn["audio"]

    @property
    def visual_label(self) -> Segments:
        return self._drawn["visual"]

    @property
    def weak_label(self) -> UInt8[np.ndarray, " classes"]:
        return self.audio_label.max(0) | self.visual_label.max(0)

    @property
    def audio_pseudo_label(self) -> Segments:
        return self._drawn["audio_pseudo"]

    @property
    def visual_pseudo_label(self) -> Segments:
        return self._drawn["visual_pseudo"]

    def film(self, path: Path) -> None:
        """Writes the mp4 file, a second at a time; equal clips have equal bytes.

        Raises:
            UserError: it cannot be written, or PyAV is not installed.
        """
        film = Film(self._numbers(2), self.visual_label.astype(bool))
        sound = Soundtrack(self._numbers(3), self.audio_label.astype(bool))
        parts = ((film.second(n), sound.second(n)) for n in range(self.seconds))
        write_video(path, parts, FRAMES, RATE)

    @functools.cached_property
    def _drawn(self) -> Mapping:
        rng = self._numbers(1)
        name = video_id(rng, SPLITS.index(self.split), self.index)
        labels = draw_scenes(rng, self.seconds)
        weak = np.logical_or(*(labels[modality].any(0) for modality in MODALITIES))
        for modality in MODALITIES:
            labels[f"{modality}_pseudo"] = teacher_labels(rng, labels[modality], weak)
        return {"id": name} | {key: each.astype(np.uint8) for key, each in labels.items()}

    def _numbers(self, purpose: int) -> np.random.Generator:
        # NumPy ignores trailing zeros: a purpose is 1 or more.
        return np.random.default_rng([self.seed, SPLITS.index(self.split), self.index, purpose])
