"""Label elaboration: what teachers of one modality say about every segment.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised
Audio-Visual Event Parser", NeurIPS 2023, section 3.2. CLIP looks at one frame a
second, CLAP listens to each second; a class of the weak label is present in a
segment where the similarity of the segment and the class's prompt exceeds the
class's threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from avvp_jax.metrics.scores import per_class, scores
from avvp_jax.reports.tables import teachers_table
from avvp_jax.task import MODALITIES

PSEUDO_LABEL_SOURCE = "CLIP.zip and CLAP.zip of huggingface.co/datasets/NTUBarista/valor_features"


@dataclass(frozen=True)
class Teacher:
    """A model that compares segments of one modality with sentences.

    Attributes:
      name: also of its folder beside the published features.
      modality: what it hears or sees.
      prompts: one for each class, in the order of the task's.
      thresholds: a logit above its class's is a label.
    """

    name: str
    modality: str
    prompts: tuple[str, ...]
    thresholds: tuple[float, ...]


_PHOTOS_OF = (
    *("people talking", "a car", "people cheering", "a dog", "a cat", "frying food"),
    *("people playing basketball", "a fire alarm", "a chainsaw", "a cello", "a banjo"),
    *("people singing", "a chicken or a rooster", "a violin", "a vaccum cleaner"),
    *("a laughing baby", "an accordion", "a lawnmower", "a motorcycle", "a helicopter"),
    *("a acoustic guiter", "a ringing telephone", "a crying baby", "a blender", "hands clapping"),
)
_SOUNDS_OF = (
    *("speech", "car", "cheering", "dog", "cat", "frying (food)", "basketball bounce"),
    *("fire alarm", "chainsaw", "cello", "banjo", "singing", "chicken, rooster", "violin fiddle"),
    *("vacuum cleaner", "baby laughter", "accordion", "lawn mower", "motorcycle", "helicopter"),
    *("acoustic guitar", "telephone bell ringing", "baby cry, infant cry", "blender", "clapping"),
)

# For LLP's classes. Prompts, their spelling included, and thresholds are the published program's.
TEACHERS = {
    teacher.modality: teacher
    for teacher in (
        Teacher(
            "CLAP",
            "audio",
            tuple(f"This is a sound of {sound}" for sound in _SOUNDS_OF),
            (0, 0, 1, 4, 6, -2, 4, 4, 2, 2, 2, 1, 2, 3, 0, 2, 2, 2, 0, 2, -1, 2, 3, 3, 0),
        ),
        Teacher(
            "CLIP",
            "visual",
            tuple(f"A photo of {sight}." for sight in _PHOTOS_OF),
            (20, 15, 18, 14, 15, 18, 18, 15, 15, 15, 15, 18)
            + (15, 15, 15, 15, 15, 15, 15, 16, 14, 15, 15, 15, 18),
        ),
    )
}


def segment_logits(
    segments: Float[np.ndarray, "*videos segments width"],
    prompts: Float[np.ndarray, "classes width"],
    scale: float,
) -> Float[np.ndarray, "*videos segments classes"]:
    """`scale` times the cosine of every segment's embedding with every prompt's, in float64."""

    def unit(x):
        x = np.asarray(x, np.float64)
        return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)

    return scale * (unit(segments) @ unit(prompts).T)


def elaborate(
    logits: Float[np.ndarray, "*videos segments classes"],
    weak_label: Float[np.ndarray, "*videos classes"],
    thresholds: Sequence[float],
) -> UInt8[np.ndarray, "*videos segments classes"]:
    """Segment pseudo labels: 1 for a weak label's class whose logit is above its threshold."""
    above = np.asarray(logits) > np.asarray(thresholds)
    return (above & (np.asarray(weak_label) > 0)[..., None, :]).astype(np.uint8)


def teachers_report(
    classes: Sequence[str],
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    modalities: Sequence[str] = MODALITIES,
) -> str:
    """How good teachers are: F-scores of their segments, of each class and over videos.

    Args:
      classes: their names.
      splits: name -> pseudo labels and dense labels, each [videos, segments, 2, classes].
      modalities: of the teachers that are looked at.
    """
    columns, means = {}, {}
    for name, (pseudo, truth) in splits.items():
        by_class, over_videos = per_class(pseudo > 0, truth > 0), scores(pseudo > 0, truth > 0)
        for modality in modalities:
            column = f"{name} {TEACHERS[modality].name}"
            columns[column] = by_class[f"segment/{modality}"]
            means[column] = over_videos[f"segment/{modality}"]
    return teachers_table(classes, columns, means)
