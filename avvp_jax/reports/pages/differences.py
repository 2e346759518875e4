"""Where several models differ on the same videos: class by class, and video by video."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from avvp_jax.metrics.events import events_of
from avvp_jax.metrics.scores import LEVELS, STREAMS, per_class, per_video
from avvp_jax.metrics.video_scores import by_class, whole_counts
from avvp_jax.reports.parsed_files import Parsed
from avvp_jax.reports.parses import SAYS
from avvp_jax.task import MODALITIES

MOST_VIDEOS = 30
_PARTS_OF_TYPE = [STREAMS.index(name) for name in ("audio", "visual", "audio_visual")]


@dataclass(frozen=True)
class ClassRow:
    """A class in one modality, or in whole videos.

    Attributes:
      name: of the class.
      how: "heard", "seen", or "in the video".
      videos, segments: in how many it is annotated; `segments` is None of whole videos.
      scores: the F of each model in percent; NaN where it is neither predicted nor annotated.
    """

    name: str
    how: str
    videos: int
    segments: int | None
    scores: list[float]


def same_content(one: Parsed, other: Parsed) -> bool:
    """Whether two are of the same videos, classes and annotations."""
    return (
        (one.filenames, one.task, one.truth) == (other.filenames, other.task, other.truth)
        and np.array_equal(one.dense, other.dense)
        and np.array_equal(one.annotated, other.annotated)
    )


def class_rows(models: Sequence[Parsed]) -> list[ClassRow]:
    """Each class's F-scores: of segments heard and seen, or of videos where nothing is dense."""
    first, rows = models[0], []
    classes = first.task.classes
    if not first.dense.any():
        scores = np.stack([by_class(each.wholes, first.weak_label)[0] for each in models])
        counts = first.weak_label.sum(axis=0).tolist()
        for index, name in enumerate(classes):
            rows.append(ClassRow(name, "in the video", counts[index], None, _list(scores, index)))
        return rows
    true = first.annotated[first.dense]
    each = [per_class(model.predicted[first.dense], true) for model in models]
    for modality, says in enumerate(SAYS[name] for name in MODALITIES):
        scores = np.stack([by_name[f"segment/{MODALITIES[modality]}"] for by_name in each])
        segments = true[:, :, modality].sum(axis=(0, 1)).tolist()
        videos = true[:, :, modality].any(axis=1).sum(axis=0).tolist()
        for index, name in enumerate(classes):
            found = _list(scores, index)
            rows.append(ClassRow(name, says, videos[index], segments[index], found))
    return rows


def _list(scores: Float[np.ndarray, "models classes"], index: int) -> list[float]:
    return scores[:, index].tolist()


def scores_by_video(models: Sequence[Parsed]) -> Float[np.ndarray, "models videos"]:
    """How good each model is on each video; NaN where a video has no dense annotations.

    That is the mean of the video's F-scores Type and Event, of segments and of events, in percent.
    Where no video has dense annotations, it is how many labels are missed or wrong, negative.
    """
    first = models[0]
    if not first.dense.any():
        return -np.stack([counted(model)[:, 1:].sum(axis=1) for model in models]).astype(float)
    values = np.full((len(models), len(first.filenames)), np.nan)
    for model, row in zip(models, values, strict=True):
        f = per_video(model.predicted[first.dense], first.annotated[first.dense])
        f = f.reshape(-1, len(LEVELS), len(STREAMS))
        kinds = f[:, :, _PARTS_OF_TYPE].mean(axis=2), f[:, :, STREAMS.index("event")]
        row[first.dense] = 100 * np.mean(kinds, axis=(0, 2))
    return values


def counted(model: Parsed) -> Int[np.ndarray, "videos 3"]:
    """How many labels of each video are found, missed and wrong."""
    return whole_counts(model.wholes, model.weak_label)


def most_different(values: Float[np.ndarray, "models videos"]) -> list[int]:
    """The videos with the largest spread, largest first, at most MOST_VIDEOS; those with none not.

    Args:
      values: see scores_by_video.
    """
    spread = values.max(axis=0) - values.min(axis=0)
    spread = np.where(np.isnan(spread), 0, spread)
    order = np.argsort(-spread, kind="stable")[:MOST_VIDEOS]
    return [row for row in order.tolist() if spread[row] > 1e-9]


def timelines(models: Sequence[Parsed], names: Sequence[str], video: int) -> dict:
    """One video's segments as strips.js draws them: what is annotated, and what each model says.

    Args:
      names: of the models.
    """
    first, rows = models[0], []
    length = int(first.lengths[video])
    dense = bool(first.dense[video])
    sources = [("annotated", "annotated", first.annotated)] if dense else []
    sources += [(name, "predicted", m.predicted) for name, m in zip(names, models, strict=True)]
    spans = {}
    for source, (_, _, segments) in enumerate(sources):
        for modality in range(len(MODALITIES)):
            for index, onset, offset in events_of(segments[video, :length, modality]):
                spans.setdefault((index, modality), {}).setdefault(source, []).append(
                    (onset, offset)
                )
    for index in sorted({index for index, _ in spans}):
        lanes = [
            {
                "name": f"{SAYS[MODALITIES[modality]]}: {name}",
                "kind": kind,
                "modality": MODALITIES[modality],
                "spans": spans[index, modality].get(source, []),
            }
            for modality in range(len(MODALITIES))
            if (index, modality) in spans
            for source, (name, kind, _) in enumerate(sources)
        ]
        rows.append({"label": first.task.classes[index], "lanes": lanes})
    return {"segments": length, "seconds": first.task.seconds, "rows": rows}
