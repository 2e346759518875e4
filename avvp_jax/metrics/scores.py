"""The ten F-scores of audio-visual video parsing, computed for all videos at once.

Segment-level scores compare segments. Event-level scores compare events (maximal runs), which
match if their intersection over union is at least 0.5. Both are F-scores per video and class,
averaged over the video's classes and then over videos. Source: Tian, Li and Xu, ECCV 2020,
section 6. Where the paper leaves a definition open, the published evaluation program decides.

All scores come from `counts`. On the host, `scores`, `per_video` and `per_class` divide in
float64; in a jitted program, `device_scores` divides in float32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import runs

LEVELS = ("segment", "event")
NAMES = tuple(
    f"{level}/{part}"
    for level in LEVELS
    for part in ("audio", "visual", "audio_visual", "type", "event")
)
# What is counted, in the order of the published program's tables. "event" adds the counts of
# audio and visual; "audio_visual" is active where both modalities are.
STREAMS = ("audio", "visual", "event", "audio_visual")
PER_VIDEO_NAMES = tuple(f"{level}/{stream}" for level in LEVELS for stream in STREAMS)
# Where predictions and annotations differ in size, `_check` says so in words for users.
OF_ANY_SIZE = "_ _ 2 _"


class Counts(NamedTuple):
    """True positives, false positives and false negatives, by LEVELS and STREAMS."""

    tp: Int[ArrayLike, "videos *levels_and_streams classes"]
    fp: Int[ArrayLike, "videos *levels_and_streams classes"]
    fn: Int[ArrayLike, "videos *levels_and_streams classes"]


def counts(
    pred: Bool[ArrayLike, "videos segments 2 classes"],
    true: Bool[ArrayLike, "videos segments 2 classes"],
) -> Counts:
    """Exact counts per video, level, stream and class. It can be jitted and vmapped.

    Events are matched without forming pairs. A predicted and an annotated event intersect in one
    interval: a maximal run of segments that are active on both sides. Each such run belongs to
    one pair. So every intersecting pair is counted once, at the first segment of its run, and
    matches if 2 * intersection >= union (in integers).

    The published rule would let an event match several others, but that cannot happen. Suppose
    an event of length n had IoU >= 1/2 with two others. Each intersection would be at least half
    a union, hence at least n / 2, so together they would cover the whole event. But the two
    others are maximal runs, so at least one segment between them is in neither, and the event
    contains that segment. Matching is therefore one to one. The number of matching pairs is both
    the number of predicted and that of annotated events with a match.
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
    segments: Bool[ArrayLike, "videos segments 2 classes"],
) -> Bool[Array, "videos segments 3 classes"]:
    return jnp.concatenate([segments, segments.all(axis=2, keepdims=True)], axis=2)


def _totals(
    segments: Bool[Array, "videos segments 3 classes"],
    events: Bool[Array, "videos segments 3 classes"],
) -> Int[Array, "videos 2 4 classes"]:
    """Sums over time for both levels, with the stream "event" added (see STREAMS)."""
    total = jnp.stack([segments.sum(1, dtype=jnp.int32), events.sum(1, dtype=jnp.int32)], axis=1)
    audio, visual, audio_visual = (total[:, :, i] for i in range(3))
    return jnp.stack([audio, visual, audio + visual, audio_visual], axis=2)


def device_scores(
    pred: Bool[ArrayLike, "videos segments 2 classes"],
    true: Bool[ArrayLike, OF_ANY_SIZE],
    weight: Float[ArrayLike, " videos"] | None = None,
) -> Float[Array, "10"]:
    """The ten scores in percent, in the order of NAMES, within 1e-4 of `scores`.

    A pure function, which can be jitted and vmapped over seeds.

    Args:
      weight: 1 for a video that counts, 0 for padding; None if all count.

    Raises:
      UserError: shapes differ, or there is no video (raised while tracing).
    """
    _check(pred, true)
    f = _f_per_video(counts(pred, true))
    weight = jnp.ones(len(f)) if weight is None else weight
    return _ten((f * weight[:, None]).sum(0) / weight.sum()).astype(jnp.float32)


def scores(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, OF_ANY_SIZE],
) -> dict[str, float]:
    """The ten scores in percent by name (NAMES), in float64.

    Raises:
      UserError: shapes differ, or there is no video.
    """
    values = _ten(per_video(pred, true).mean(axis=0))
    return dict(zip(NAMES, values.tolist(), strict=True))


def per_video(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, OF_ANY_SIZE],
) -> Float[np.ndarray, "videos 8"]:
    """Each video's F-scores (0 to 1, float64) in the order of PER_VIDEO_NAMES."""
    return _f_per_video(host_counts(pred, true))


def ten_per_video(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, OF_ANY_SIZE],
) -> Float[np.ndarray, "videos 10"]:
    """Each video's ten scores in percent, in the order of NAMES; their means are `scores`."""
    # The ten are linear in the eight.
    return per_video(pred, true) @ np.stack([_ten(one) for one in np.eye(len(PER_VIDEO_NAMES))])


def per_class(
    pred: Bool[np.ndarray, "videos segments 2 classes"],
    true: Bool[np.ndarray, OF_ANY_SIZE],
) -> dict[str, Float[np.ndarray, " classes"]]:
    """Each class's F-scores in percent, by name (PER_VIDEO_NAMES); counts are summed over videos.

    NaN for a class that is neither predicted nor annotated. These numbers differ from the ten
    scores, which are F-scores of single videos, averaged.
    """
    tp, fp, fn = (count.sum(axis=0, dtype=np.int64) for count in host_counts(pred, true))
    total = 2 * tp + fp + fn
    f = np.where(total > 0, 200 * tp / np.maximum(total, 1), np.nan)
    return dict(zip(PER_VIDEO_NAMES, f.reshape(len(PER_VIDEO_NAMES), -1), strict=True))


_compiled_counts = jax.jit(counts)


def host_counts(pred: Bool[np.ndarray, OF_ANY_SIZE], true: Bool[np.ndarray, OF_ANY_SIZE]) -> Counts:
    """`counts` as NumPy arrays.

    Raises:
      UserError: shapes differ, or there is no video.
    """
    _check(pred, true)
    return jax.device_get(_compiled_counts(np.asarray(pred, bool), np.asarray(true, bool)))


def _check(pred: Bool[ArrayLike, OF_ANY_SIZE], true: Bool[ArrayLike, OF_ANY_SIZE]) -> None:
    if pred.shape != true.shape:
        raise UserError(
            f"predictions {pred.shape} and annotations {true.shape} differ in shape (videos, "
            "segments, modalities, classes); predict and score the same split"
        )
    if not len(pred):
        raise UserError("there is no video to score; choose a split that has videos")


def _f_per_video(count: Counts) -> Float[ArrayLike, "videos 8"]:
    mean = mean_f(count)
    return mean.reshape(len(mean), len(PER_VIDEO_NAMES))


def mean_f(count: Counts) -> Float[ArrayLike, "*counted"]:
    """F-scores averaged over the classes that are predicted or annotated; 1 if there are none.

    NumPy counts give float64, JAX counts float32. The last axis of counts is that of classes.
    """
    xp = count.tp.__array_namespace__()
    total = 2 * count.tp + count.fp + count.fn
    f = 2 * count.tp / xp.maximum(total, 1)  # 0 for an absent class, so it adds nothing below
    classes = (total > 0).sum(axis=-1)
    return xp.where(classes > 0, f.sum(axis=-1) / xp.maximum(classes, 1), 1.0)


def _ten(means: Float[ArrayLike, "8"]) -> Float[ArrayLike, "10"]:
    """The ten scores in percent, from the eight F-scores averaged over videos."""
    xp = means.__array_namespace__()
    audio, visual, event, audio_visual = means.reshape(len(LEVELS), len(STREAMS)).T
    kind = (audio + visual + audio_visual) / 3
    return 100 * xp.stack([audio, visual, audio_visual, kind, event], axis=1).reshape(-1)
