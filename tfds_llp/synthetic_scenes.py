"""What happens in a synthetic video: where each class is heard and seen, second by second."""

import numpy as np
from jaxtyping import Bool

from avvp_jax.task import MODALITIES, SYNTHETIC_VIDEOS

CLASSES = len(SYNTHETIC_VIDEOS.classes)
# Shares of scenes with one, two and three classes. A clip as long as the task's is one scene; a
# longer one is a row of scenes, each of about as many seconds.
CLASSES_PER_SCENE = (0.55, 0.35, 0.1)
SCENE_SECONDS = (8, 12)
# Shares of events that are only heard, and only seen.
HEARD, SEEN = 0.08, 0.08
# Shares of events that fill their scene, and of events both heard and seen whose extents are
# drawn separately for the two modalities.
FULL, DRAWN_APART = 0.7, 0.2
LENGTHS = (2, 8)  # tenths of their scene, of events that do not fill it

Labels = dict[str, Bool[np.ndarray, "seconds classes"]]


def draw_scenes(rng: np.random.Generator, seconds: int) -> Labels:
    """Draws where each class is heard ("audio") and seen ("visual") in a video of some length."""
    lengths = [seconds]
    if seconds > SYNTHETIC_VIDEOS.duration:
        lengths = []
        while sum(lengths) < seconds:
            lengths.append(int(rng.integers(SCENE_SECONDS[0], SCENE_SECONDS[1] + 1)))
    scenes = [_draw_scene(rng, length) for length in lengths]
    return {
        name: np.concatenate([scene[name] for scene in scenes])[:seconds] for name in MODALITIES
    }


def _draw_scene(rng: np.random.Generator, seconds: int) -> Labels:
    labels = {modality: np.zeros((seconds, CLASSES), bool) for modality in MODALITIES}
    number = 1 + rng.choice(len(CLASSES_PER_SCENE), p=CLASSES_PER_SCENE)
    for index in rng.choice(CLASSES, number, replace=False):
        heard = seen = _draw_extent(rng, seconds)
        if rng.random() < DRAWN_APART:
            seen = _draw_extent(rng, seconds)
        luck = rng.random()
        if luck >= SEEN:
            labels["audio"][:, index] = heard
        if luck < SEEN or luck >= SEEN + HEARD:
            labels["visual"][:, index] = seen
    return labels


def _draw_extent(rng: np.random.Generator, seconds: int) -> Bool[np.ndarray, " seconds"]:
    """Draws an event's run of seconds."""
    extent = np.zeros(seconds, bool)
    full = rng.random() < FULL
    tenths = 10 if full else int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    length = max(1, tenths * seconds // 10)
    start = int(rng.integers(seconds - length + 1))
    extent[start : start + length] = True
    return extent
