"""The ten F-scores of audio-visual video parsing, as array programs over all videos at once.

Segment-level scores compare segments; event-level scores compare events (maximal runs), which
match when their intersection over union is at least 0.5. Both are F-scores per video, averaged
over its classes, then over videos. Source: Tian, Li and Xu, ECCV 2020, section 6, and the
published evaluation program, whose definitions are kept where the paper leaves them open.

`counts` is the one place that counts. The host compiles it and divides in float64 (`scores`,
`per_video`, `per_class`); inside a jitted program `device_scores` divides in float32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import runs

LEVELS = ("segment", "event")
NAMES = tuple(
    f"{level}/{part}"
    for level in LEVELS
    for part in ("audio", "visual", "audio_visual", "type", "event")
)
# What is counted, in the order of the published program's tables: "event" pools the counts of
# audio and visual, "audio_visual" is active where both are.
STREAMS = ("audio", "visual", "event", "audio_visual")
PER_VIDEO_NAMES = tuple(f"{level}/{stream}" for level in LEVELS for stream in STREAMS)


class Counts(NamedTuple):
    """True positives, false positives and false negatives; levels and streams as named above."""

    tp: Int[Array, "videos 2 4 classes"]
    fp: Int[Array, "videos 2 4 classes"]
    fn: Int[Array, "videos 2 4 classes"]


def counts(
    pred: Bool[Array, "videos segments 2 classes"],
    true: Bool[Array, "videos segments 2 classes"],
) -> Counts:
    """Exact counts per video, level, stream and class, without forming pairs; jit- and vmap-able.

    Two events intersect in one interval, which is a run of the segments that both sides have
    active, and every such run belongs to one pair. So each pair that intersects is seen once, at
    the run's first segment, and matches there if 2 * intersection >= union (integers).

    The published rule lets an event match several others, but none can: if an event of length n
    had IoU >= 1/2 with two, each intersection would be at least half a union, hence at least
    n / 2, and together they would cover it; but the two are maximal runs, so at least one of the
    segments between them, which the event spans, is in neither. Matching is one to one, and the
    number of matching pairs is both the predicted and the annotated events with a match.
    """
    pred, true = _with_audio_visual(pred), _with_audio_visual(true)
    pred_start, pred_end = runs(pred, axis=1)
    true_start, true_end = runs(true, axis=1)
    position = lax.broadcasted_iota(jnp.int32, pred.shape, 1)
    both = pred & true
    intersection = jnp.minimum(pred_end, true_end) - position
    union = jnp.maximum(pred_end, true_end) - jnp.minimum(pred_start, true_start)
    first = position == jnp.maximum(pred_start, true_start)
    matched = both & first & (2 * intersection >= union)

    tp = _totals(both, matched)
    predicted = _totals(pred, pred & (position == pred_start))
    annotated = _totals(true, true & (position == true_start))
    return Counts(tp, predicted - tp, annotated - tp)


def _with_audio_visual(
    segments: Bool[Array, "videos segments 2 classes"],
) -> Bool[Array, "videos segments 3 classes"]:
    return jnp.concatenate([segments, segments.all(axis=2, keepdims=True)], axis=2)


def _totals(
    segments: Bool[Array, "videos segments 3 classes"],
    events: Bool[Array, "videos segments 3 classes"],
) -> Int[Array, "videos 2 4 classes"]:
    """Both levels' sums over time, with the pooled stream put in between."""
    total = jnp.stack([segments.sum(1, dtype=jnp.int32), events.sum(1, dtype=jnp.int32)], axis=1)
    audio, visual, audio_visual = (total[:, :, i] for i in range(3))
    return jnp.stack([audio, visual, audio + visual, audio_visual], axis=2)


def device_scores(
    pred: Bool[Array, "videos segments 2 classes"],
    true: Bool[Array, "videos segments 2 classes"],
    weight: Float[Array, " videos"] | None = None,
) -> Float[Array, "10"]:
    """The ten scores in percent, in the order of NAMES, within 1e-4 of `scores`.

    Pure: jit it, vmap it over seeds. `weight` is 1 for a video that counts and 0 for padding.
    Raises UserError while tracing for shapes that differ or hold no video.
    """
    _check(pred, true)
    f = _f_per_video(counts(pred, true))
    weight = jnp.ones(len(f)) if weight is None else weight
    return _ten((f * weight[:, None]).sum(0) / weight.sum()).astype(jnp.float32)


def scores(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, "videos segments 2 classes"],
) -> dict[str, float]:
    """The ten scores in percent by the names in NAMES, in float64.

    Raises UserError when the shapes differ or hold no video.
    """
    values = _ten(per_video(pred, true).mean(axis=0))
    return dict(zip(NAMES, values.tolist(), strict=True))


def per_video(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, "videos segments 2 classes"],
) -> Float[np.ndarray, "videos 8"]:
    """Each video's F-scores (0 to 1, float64) in the order of PER_VIDEO_NAMES."""
    return _f_per_video(_host_counts(pred, true))


def per_class(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, "videos segments 2 classes"],
) -> dict[str, Float[np.ndarray, " classes"]]:
    """Each class's F-scores in percent, counts pooled over videos, by PER_VIDEO_NAMES' names.

    NaN for a class that is neither predicted nor annotated. These are other numbers than the ten
    scores, which average over videos first.
    """
    tp, fp, fn = (count.sum(axis=0, dtype=np.int64) for count in _host_counts(pred, true))
    total = 2 * tp + fp + fn
    f = np.where(total > 0, 200 * tp / np.maximum(total, 1), np.nan)
    return dict(zip(PER_VIDEO_NAMES, f.reshape(len(PER_VIDEO_NAMES), -1), strict=True))


_compiled_counts = jax.jit(counts)


def _host_counts(pred: np.ndarray, true: np.ndarray) -> Counts:
    _check(pred, true)
    return jax.device_get(_compiled_counts(np.asarray(pred, bool), np.asarray(true, bool)))


def _check(pred: Array | np.ndarray, true: Array | np.ndarray) -> None:
    if pred.shape != true.shape:
        raise UserError(
            f"predictions {pred.shape} and annotations {true.shape} differ in shape (videos, "
            "segments, modalities, classes); predict and score the same split"
        )
    if not len(pred):
        raise UserError("there is no video to score; choose a split that has videos")


def _f_per_video(count: Counts) -> Float[Array | np.ndarray, "videos 8"]:
    """F of each class, averaged over the classes predicted or annotated; 1 where none is.

    Of NumPy counts in float64, of JAX counts in float32.
    """
    xp = count.tp.__array_namespace__()
    total = 2 * count.tp + count.fp + count.fn
    f = 2 * count.tp / xp.maximum(total, 1)  # 0 for an absent class, and the sum leaves it out
    classes = (total > 0).sum(axis=-1)
    mean = xp.where(classes > 0, f.sum(axis=-1) / xp.maximum(classes, 1), 1.0)
    return mean.reshape(len(mean), len(PER_VIDEO_NAMES))


def _ten(means: Float[Array | np.ndarray, "8"]) -> Float[Array | np.ndarray, "10"]:
    """The ten numbers in percent from the means over videos of the eight streams."""
    xp = means.__array_namespace__()
    audio, visual, event, audio_visual = means.reshape(len(LEVELS), len(STREAMS)).T
    kind = (audio + visual + audio_visual) / 3
    return 100 * xp.stack([audio, visual, audio_visual, kind, event], axis=1).reshape(-1)
