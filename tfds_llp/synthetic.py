"""The built-in synthetic data set: labels like LLP's and generated features, without a download.

Labels are drawn with the statistics of the real annotations: classes, modalities and extents
(`synthetic_labels`). Many events are only heard or only seen, and many last for only a part of
the ten seconds. Train is for use with its weak labels, as in LLP; its true segment labels are
known, and included.

Each modality of a video is a scene: ten points in a space where every class has a direction of
its own. All feature streams of the modality render the same scene. A single segment says little
about its events: noise hides them, and each video has its own background and loudness. All
segments of an event and both modalities together show it clearly. A network that attends across
them therefore finds events that a linear map of one segment does not. A class leaves no trace in
a modality from which it is absent, so modality noise in the weak labels can be found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from avvp_jax.streams import PSEUDO_LABELS, PUBLISHED, STREAMS
from avvp_jax.task import LLP, MODALITIES
from tfds_llp.annotation_files import write_annotations
from tfds_llp.synthetic_labels import draw_labels, teacher_labels

SIZES = {"train": 1200, "val": 200, "test": 300}
"""Videos per split."""

# A scene has SCENE_DIMS dimensions. An event adds its loudness, uniform in LOUDNESS, along the
# direction of its class. The other numbers are standard deviations: of each dimension of the
# background (DRIFT), which is constant over a video, and of the logarithm of the gains of one
# modality's scene and of its features.
SCENE_DIMS = 32
LOUDNESS = (0.8, 1.4)
DRIFT = 0.05
SCENE_GAIN = 0.2
STREAM_GAIN = 0.5


@dataclass(frozen=True)
class Rendering:
    """How a stream renders a scene: max(0, level + contrast * (scene + noise) @ view + grain).

    `noise` is the standard deviation of noise per segment and dimension of the scene, which all
    streams of a modality share; `grain` is that of noise per row and feature.
    """

    modality: str
    noise: float
    level: float
    contrast: float
    grain: float
    clipped: bool = True
    normalised: bool = False


# With these values, over four seeds of the data set, HAN reaches a segment-level Type@AV of 53 to
# 60 on val and test. A linear probe of single segments, trained on the weak labels, reaches 19 to
# 22 at the threshold 0.5, and 29 at the threshold that is best on val. Wide streams have small
# features, because 2,048 larger ones, all positive, make training unstable at the published
# learning rate. CLAP and CLIP have less noise, in line with their published scores.
RENDERINGS = {
    "vggish": Rendering("audio", 0.45, 0.4, 0.4, 0.1),
    "resnet152": Rendering("visual", 0.45, 0.15, 0.15, 0.1),
    "r2plus1d": Rendering("visual", 0.45, 0.25, 0.25, 0.1),
    "clap": Rendering("audio", 0.4, 0.0, 0.4, 0.3, clipped=False),
    "clip": Rendering("visual", 0.4, 0.4, 0.4, 0.1, clipped=False, normalised=True),
}


@dataclass(frozen=True)
class SyntheticVideo:
    """One video: features as published, true labels, and teachers' labels per segment.

    `streams` maps a name in `avvp_jax.streams.PUBLISHED` to float32 [rows, width]. Labels are 0 or
    1. `weak_label` has the classes of `audio_label` and `visual_label`. Pseudo labels are noisy
    versions of these two, and zero for classes that the weak label lacks.
    """

    id: str
    filename: str
    streams: dict[str, Float32[np.ndarray, "_ _"]]
    weak_label: UInt8[np.ndarray, " classes"]
    audio_label: UInt8[np.ndarray, "segments classes"]
    visual_label: UInt8[np.ndarray, "segments classes"]
    audio_pseudo_label: UInt8[np.ndarray, "segments classes"]
    visual_pseudo_label: UInt8[np.ndarray, "segments classes"]


def generate(seed: int, sizes: Mapping[str, int] = SIZES) -> dict[str, "SyntheticSplit"]:
    """The synthetic data set of a seed.

    A video depends only on seed, split and index, not on the sizes. Another seed gives other
    videos, and classes with other features; the difficulty is about the same.

    Args:
        seed: 0 or more.
        sizes: number of videos in each split, among train, val and test.

    Returns:
        For each split of `sizes` a sequence of videos, which are generated on access.
    """
    look = _Look.draw(seed)
    return {split: SyntheticSplit(seed, split, size, look) for split, size in sizes.items()}


def write_published_layout(folder: Path, seed: int, sizes: Mapping[str, int] = SIZES) -> None:
    """Writes the same videos in the layout of the published files, about 0.9 MB per video.

    Annotation files (dense ones for val and test), features and segment pseudo labels go below
    `folder` under their published names; existing files are replaced.
    """
    folder = Path(folder)
    for subfolder in (*(STREAMS[name].folder for name in PUBLISHED), *PSEUDO_LABELS.values()):
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    labels = {}
    for split, videos in generate(seed, sizes).items():
        labels[split] = []
        for video in videos:
            labels[split].append(replace(video, streams={}))
            for name, features in video.streams.items():
                np.save(folder / STREAMS[name].folder / f"{video.id}.npy", features)
            np.save(folder / PSEUDO_LABELS["audio"] / f"{video.id}.npy", video.audio_pseudo_label)
            np.save(folder / PSEUDO_LABELS["visual"] / f"{video.id}.npy", video.visual_pseudo_label)
    write_annotations(folder, labels, LLP)


class SyntheticSplit(Sequence):
    """The videos of one split. A video is generated at every access, always the same."""

    def __init__(self, seed: int, split: str, size: int, look: "_Look"):
        self._seed, self._number, self._size = seed, tuple(SIZES).index(split), size
        self._look = look

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> SyntheticVideo:
        index = range(self._size)[index]
        rng = np.random.default_rng([self._seed, self._number, index])
        name = video_id(rng, self._number, index)
        start = LLP.duration * rng.integers(30)
        labels = draw_labels(rng)
        weak_label = labels["audio"].any(0) | labels["visual"].any(0)
        pseudo_labels = {
            modality: teacher_labels(rng, labels[modality], weak_label) for modality in MODALITIES
        }
        return SyntheticVideo(
            id=name,
            filename=f"{name}_{start}_{start + LLP.duration}",
            streams=self._look.render(rng, labels),
            weak_label=weak_label.astype(np.uint8),
            audio_label=labels["audio"].astype(np.uint8),
            visual_label=labels["visual"].astype(np.uint8),
            audio_pseudo_label=pseudo_labels["audio"].astype(np.uint8),
            visual_pseudo_label=pseudo_labels["visual"].astype(np.uint8),
        )


@dataclass(frozen=True)
class _Look:
    """What all videos of a seed share.

    Attributes:
        directions: the classes' directions in a modality's scene, orthonormal, so that all
            classes are equally hard.
        views: the maps from a scene to the features of a stream.
    """

    directions: dict[str, Float[np.ndarray, "classes scene"]]
    views: dict[str, Float32[np.ndarray, "scene _"]]

    @classmethod
    def draw(cls, seed: int) -> "_Look":
        # A number that no split has, so that this generator differs from those of the videos.
        # Without it they could agree: NumPy ignores trailing zeros, so [s] is [s, 0, 0].
        rng = np.random.default_rng([seed, len(SIZES)])
        square = (SCENE_DIMS, SCENE_DIMS)
        return cls(
            {
                modality: np.linalg.qr(rng.standard_normal(square))[0][: len(LLP.classes)]
                for modality in MODALITIES
            },
            {
                name: rng.standard_normal((SCENE_DIMS, STREAMS[name].width), np.float32)
                for name in RENDERINGS
            },
        )

    def render(
        self, rng: np.random.Generator, labels: dict[str, Bool[np.ndarray, "segments classes"]]
    ) -> dict[str, Float32[np.ndarray, "_ _"]]:
        """Renders the features of a video with these events."""
        scene, noise, scene_gain, stream_gain = {}, {}, {}, {}
        for modality, segments in labels.items():
            loudness = rng.uniform(*LOUDNESS, len(LLP.classes))
            background = DRIFT * rng.standard_normal(SCENE_DIMS)
            scene[modality] = (segments * loudness) @ self.directions[modality] + background
            noise[modality] = rng.standard_normal((LLP.segments, SCENE_DIMS))
            scene_gain[modality] = np.exp(SCENE_GAIN * rng.standard_normal())
            stream_gain[modality] = np.float32(np.exp(STREAM_GAIN * rng.standard_normal()))
        streams = {}
        for name, how in RENDERINGS.items():
            seen = scene_gain[how.modality] * (
                scene[how.modality] + how.noise * noise[how.modality]
            )
            clean = how.level + how.contrast * seen.astype(np.float32) @ self.views[name]
            features = rng.standard_normal(
                (STREAMS[name].rows(LLP), STREAMS[name].width), np.float32
            )
            features *= how.grain
            features += clean[_segment_of_row(name)]
            if how.clipped:
                np.maximum(features, 0, out=features)
            features *= stream_gain[how.modality]
            if how.normalised:
                features /= np.linalg.norm(features, axis=1, keepdims=True)
            streams[name] = features
        return streams


def _segment_of_row(stream: str) -> np.ndarray:
    halves = 2 if stream == "clap" else 1  # CLAP's rows are two frequency halves
    rows = STREAMS[stream].rows(LLP) // halves
    return np.tile(np.arange(rows) * LLP.segments // rows, halves)


def video_id(rng: np.random.Generator, split: int, index: int) -> str:
    """An id of eleven characters like YouTube's: six are random, five are unique in the set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # An odd factor permutes the numbers below 64**5, so that neighbours have different ids.
    number = (split << 28 | index) * 0x2545F491 % 64**5
    digits = [*rng.integers(64, size=6), *(number >> 6 * place & 63 for place in range(5))]
    return "".join(alphabet[digit] for digit in digits)
