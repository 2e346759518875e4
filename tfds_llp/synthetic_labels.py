"""Draws labels of synthetic videos, class by class, with the statistics of real annotations."""

import numpy as np
from jaxtyping import Bool

from avvp_jax.task import LLP, MODALITIES

# Measured on the val split of the published annotations: 649 videos, with 1,184 pairs of a video
# and a class that AVVP_eval_audio.csv or AVVP_eval_visual.csv annotates in that video.
# - videos: share of videos that contain the class;
# - heard, seen: share of those in which it is only heard, only seen;
# - full_heard, full_seen: share of its audio, visual tracks that fill all ten segments;
# - length: mean number of segments of its other tracks;
# - single: share of these other tracks that are a single run.
# Rounded to 0.05, or to half a segment, because most classes have only a few dozen videos.
CLASS_STATISTICS = np.array(
    [  # videos, heard, seen, full_heard, full_seen, length, single
        (0.567, 0.77, 0.00, 0.20, 0.15, 4.5, 0.60),  # Speech
        (0.065, 0.05, 0.15, 0.90, 0.80, 6.5, 0.75),  # Car
        (0.069, 0.60, 0.10, 0.50, 0.80, 4.5, 0.70),  # Cheering
        (0.094, 0.05, 0.15, 0.25, 0.90, 5.0, 0.50),  # Dog
        (0.031, 0.10, 0.25, 0.00, 0.65, 4.5, 0.50),  # Cat
        (0.028, 0.05, 0.00, 0.95, 0.80, 3.0, 1.00),  # Frying_(food)
        (0.054, 0.05, 0.15, 0.10, 0.05, 3.5, 0.70),  # Basketball_bounce
        (0.018, 0.10, 0.00, 0.35, 0.55, 6.0, 0.60),  # Fire_alarm
        (0.028, 0.00, 0.00, 0.60, 0.80, 5.5, 0.80),  # Chainsaw
        (0.052, 0.30, 0.10, 0.75, 0.70, 5.5, 0.80),  # Cello
        (0.020, 0.15, 0.15, 0.65, 0.80, 4.0, 1.00),  # Banjo
        (0.134, 0.30, 0.00, 0.40, 0.30, 6.0, 0.60),  # Singing
        (0.052, 0.05, 0.10, 0.45, 0.90, 6.0, 0.50),  # Chicken_rooster
        (0.112, 0.20, 0.00, 0.65, 0.75, 6.0, 0.80),  # Violin_fiddle
        (0.063, 0.05, 0.00, 0.75, 0.70, 5.5, 0.75),  # Vacuum_cleaner
        (0.018, 0.25, 0.00, 0.10, 0.35, 5.5, 0.55),  # Baby_laughter
        (0.048, 0.20, 0.00, 0.85, 0.90, 5.5, 0.70),  # Accordion
        (0.025, 0.10, 0.00, 0.60, 0.80, 6.5, 0.80),  # Lawn_mower
        (0.034, 0.05, 0.05, 0.70, 0.80, 5.5, 0.90),  # Motorcycle
        (0.054, 0.10, 0.05, 0.85, 0.80, 6.0, 0.60),  # Helicopter
        (0.085, 0.10, 0.05, 0.55, 0.85, 6.0, 0.70),  # Acoustic_guitar
        (0.012, 0.40, 0.00, 0.10, 0.00, 5.0, 0.75),  # Telephone_bell_ringing
        (0.051, 0.15, 0.00, 0.45, 0.60, 7.0, 0.60),  # Baby_cry_infant_cry
        (0.034, 0.00, 0.05, 0.45, 0.90, 5.0, 0.85),  # Blender
        (0.076, 0.50, 0.05, 0.25, 0.30, 3.5, 0.85),  # Clapping
    ],
    dtype=[
        (name, float)
        for name in ("videos", "heard", "seen", "full_heard", "full_seen", "length", "single")
    ],
)
# Shares of the same videos with 1, 2, 3 and 4 classes; of each, the share that has Speech.
CLASSES_PER_VIDEO = (0.33, 0.57, 0.08, 0.02)
SPEECH_AMONG = (0.01, 0.84, 0.79, 0.86)

# Share of events whose extents are drawn separately for the two modalities. With this share,
# 0.62 of the events that are both heard and seen have equal extents in both, as measured.
DRAWN_APART = 0.4

# Shares of segments that teachers label: of true events, and of other segments of the weak
# label's classes.
PSEUDO_HIT_RATE, PSEUDO_FALSE_ALARM = 0.8, 0.1


def draw_labels(rng: np.random.Generator) -> dict[str, Bool[np.ndarray, "segments classes"]]:
    """Draws where each class is heard ("audio") and seen ("visual") in one video."""
    labels = {modality: np.zeros((LLP.segments, len(LLP.classes)), bool) for modality in MODALITIES}
    for index in _draw_classes(rng):
        about = CLASS_STATISTICS[index]
        heard, seen = _draw_extents(rng, about)
        luck = rng.random()
        if luck >= about["seen"]:
            labels["audio"][:, index] = heard
        if luck < about["seen"] or luck >= about["seen"] + about["heard"]:
            labels["visual"][:, index] = seen
    return labels


def teacher_labels(
    rng: np.random.Generator,
    segments: Bool[np.ndarray, "segments classes"],
    weak_label: Bool[np.ndarray, " classes"],
) -> Bool[np.ndarray, "segments classes"]:
    """Draws what a teacher of VALOR says of a video's segments, from the truth."""
    chance = np.where(segments, PSEUDO_HIT_RATE, PSEUDO_FALSE_ALARM)
    return (rng.random(segments.shape) < chance) & weak_label


def _draw_classes(rng: np.random.Generator) -> list[int]:
    """Draws the classes of a video: first whether Speech (class 0), then others by frequency."""
    number = rng.choice(len(CLASSES_PER_VIDEO), p=CLASSES_PER_VIDEO)
    speech = rng.random() < SPEECH_AMONG[number]
    frequency = CLASS_STATISTICS["videos"][1:]
    others = rng.choice(
        len(LLP.classes) - 1, number + 1 - speech, replace=False, p=frequency / frequency.sum()
    )
    return [0] * speech + [1 + int(index) for index in others]


def _draw_extents(
    rng: np.random.Generator, about: np.void
) -> tuple[Bool[np.ndarray, " segments"], Bool[np.ndarray, " segments"]]:
    """Draws the audio and the visual track of an event, as if it were both heard and seen.

    If the tracks are drawn together, one random number decides whether each is full, and they
    are equal if neither is.
    """
    full = np.ones(LLP.segments, bool)
    luck = rng.random()
    heard = full if luck < about["full_heard"] else _draw_partial_track(rng, about)
    apart = rng.random() < DRAWN_APART
    if apart:
        luck = rng.random()
    if luck < about["full_seen"]:
        return heard, full
    if apart or heard.all():
        return heard, _draw_partial_track(rng, about)
    return heard, heard


def _draw_partial_track(rng: np.random.Generator, about: np.void) -> Bool[np.ndarray, " segments"]:
    """Draws a track of one to nine segments in one or more runs, with LLP's spread of lengths."""
    share = (about["length"] - 1) / (LLP.segments - 2)
    length = 1 + rng.binomial(LLP.segments - 2, rng.beta(2 * share, 2 * (1 - share)))
    silence = LLP.segments - length
    runs = 1 if rng.random() < about["single"] else rng.choice([2, 3], p=[0.8, 0.2])
    runs = min(runs, length, silence + 1)
    # `ends` counts the active segments up to the end of each run, `before` the inactive ones
    # before its start.
    ends = np.append(np.sort(rng.choice(length - 1, runs - 1, replace=False)) + 1, length)
    before = np.sort(rng.integers(silence - runs + 2, size=runs)) + np.arange(runs)
    track = np.zeros(LLP.segments, bool)
    for start, end, shift in zip(np.append(0, ends[:-1]), ends, before, strict=True):
        track[start + shift : end + shift] = True
    return track
