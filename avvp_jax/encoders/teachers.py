"""Teachers: models that compare segments of one modality with prompts, and label them so.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event
Parser", NeurIPS 2023, section 3.2. CLIP gets one frame per second, CLAP the sound of each
second. A segment gets a class of the weak label if the similarity of the segment and the class's
prompt exceeds the class's threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Num, UInt8


@dataclass(frozen=True)
class Teacher:
    """A model that compares segments of one modality with text.

    Attributes:
      name: of the model, and of its folder beside the published features.
      modality: the modality that it labels.
      prompts: one for each class, in the task's order; alternatives are apart by "|".
      thresholds: one for each class; a logit above it gives a label. NaN gives none.
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

# Teachers for LLP's classes. Prompts (with their spelling) and thresholds are as published.
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


def alternatives(prompt: str) -> list[str]:
    """The prompts that stand for a class together."""
    return [text.strip() for text in prompt.split("|")]


def segment_logits(
    segments: Float[np.ndarray, "*videos segments width"],
    prompts: Num[np.ndarray, "classes width"],
    scale: float,
) -> Float[np.ndarray, "*videos segments classes"]:
    """`scale` times the cosine similarity of every segment and prompt embedding, in float64."""

    def unit(x):
        x = np.asarray(x, np.float64)
        return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)

    return scale * (unit(segments) @ unit(prompts).T)


def elaborate(
    logits: Float[np.ndarray, "*videos segments classes"],
    weak_label: Integer[np.ndarray, "*videos classes"],
    thresholds: Sequence[float],
) -> UInt8[np.ndarray, "*videos segments classes"]:
    """Segment pseudo labels: 1 if the weak label has the class and its logit is above threshold."""
    above = np.asarray(logits) > np.asarray(thresholds)
    return (above & (np.asarray(weak_label) > 0)[..., None, :]).astype(np.uint8)
