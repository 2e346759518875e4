"""Writes the results of a split: scores, tables, predictions, events and pictures."""

import json
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from avvp_jax.data.splits import Split
from avvp_jax.metrics.scores import PER_VIDEO_NAMES, per_class, per_video
from avvp_jax.metrics.statistics import summary
from avvp_jax.metrics.video_scores import by_class, whole_counts, whole_probabilities
from avvp_jax.reports.csv_files import write_events_csv, write_per_video_csv
from avvp_jax.reports.tables import per_class_table, per_class_video_table
from avvp_jax.reports.writers import Writer
from avvp_jax.storage.writing import make_folder, write_lines, write_npz
from avvp_jax.task import MODALITIES

MEAN = " mean"  # suffix of the row with the mean over several seeds

Segments = Bool[np.ndarray, "videos segments 2 classes"]


class Scored(NamedTuple):
    """Every seed's model on a split.

    Attributes:
      split: the split.
      results: for each seed its scores, see scoring.score_split.
      probs, segments, step: what the picked seed's model says, and its training step.
    """

    split: Split
    results: list[dict]
    probs: dict[str, np.ndarray]
    segments: Segments
    step: int


def write_scores(
    workdir: str, split: Split, results: list[dict], facts: dict[str, object]
) -> dict[str, dict]:
    """Writes scores_SPLIT.json. For several seeds it holds each seed's scores and a summary.

    Beside them it holds `videos` (how many were scored), `annotated` (how many the split's csv
    names; null if unknown), `dense` (how many of them are densely annotated, of which the scores
    of segments and events are) and `truth` (Split.truth_digest).

    Args:
      results: for each seed its scores, `seed` and `epoch`, and `diverged` if it diverged.
        The summary leaves out seeds that diverged.
      facts: about the run, written to the same file.

    Returns:
      Rows to print, by the suffix that follows the split's name.
    """
    facts = facts | {"videos": len(split), "annotated": split.annotated}
    facts["dense"] = split.dense_videos
    facts["truth"] = split.truth_digest
    rows, record = {"": results[0]}, results[0] | facts
    if len(results) > 1:
        summarised = summary([result for result in results if not result.get("diverged")])
        record = facts | {"seeds": results} | summarised
        rows = {
            f" seed {result['seed']}" + " (diverged)" * bool(result.get("diverged")): result
            for result in results
        }
        rows |= {f" {name}": row for name, row in summarised.items()}
    path = os.path.join(workdir, f"scores_{split.name}.json")
    write_lines(path, [json.dumps(record, indent=2)])
    return rows


def write_details(
    workdir: str, split: Split, probs: dict[str, np.ndarray], segments: Segments
) -> str:
    """Writes per_video_SPLIT.csv and per_class_SPLIT.txt of one seed; returns the latter's text."""
    wholes, tables = whole_probabilities(probs), []
    scored = np.full((len(split), len(PER_VIDEO_NAMES)), np.nan)
    if split.truth is not None:
        rows = split.dense_rows
        pair = segments[rows], split.truth[rows] > 0
        scored[rows] = per_video(*pair)
        tables.append(per_class_table(split.task.classes, per_class(*pair)))
    label = split.weak_label > 0
    by_video = whole_counts(wholes, label)
    path = os.path.join(workdir, f"per_video_{split.name}.csv")
    write_per_video_csv(path, split.filenames, scored, by_video)
    each, positive = by_class(wholes, label), label.sum(axis=0)
    tables.append(per_class_video_table(split.task.classes, each, positive))
    text = "\n\n".join(tables)
    write_lines(os.path.join(workdir, f"per_class_{split.name}.txt"), [text])
    return text


def write_predictions(
    workdir: str, split: Split, probs: dict[str, np.ndarray], segments: Segments
) -> str:
    """Writes predictions_SPLIT.npz and events_SPLIT_MODALITY.csv; returns the former's path.

    Where clips are short, the former also has `lengths`, in segments.
    """
    path = os.path.join(workdir, f"predictions_{split.name}.npz")
    lengths = {} if split.lengths is None else {"lengths": split.lengths}
    names = {"id": np.array(split.ids), "filename": np.array(split.filenames)}
    write_npz(path, **names, **lengths, **probs)
    for modality in MODALITIES:
        events = os.path.join(workdir, f"events_{split.name}_{modality}.csv")
        write_events_csv(events, split.filenames, segments, modality, split.task)
    return path


def draw_timelines(
    count: int,
    workdir: str,
    split: Split,
    probs: dict[str, np.ndarray],
    segments: Segments,
    writer: Writer,
    step: int,
) -> None:
    """Draws the first `count` videos, to W/timelines/SPLIT/VIDEO.png and to TensorBoard."""
    count = min(count, len(split))
    if not count:
        return
    from avvp_jax.reports.timelines import draw_timeline  # takes a second, for matplotlib

    folder = os.path.join(workdir, "timelines", split.name)
    make_folder(folder)
    annotated = np.zeros(len(split), bool)
    annotated[split.dense_rows] = True
    for row in range(count):
        name = split.filenames[row]
        truth = split.truth[row] > 0 if annotated[row] else None
        each = None if truth is None else per_video(segments[row][None], truth[None])[0]
        picture = draw_timeline(
            os.path.join(folder, f"{name}.png"),
            name,
            split.task,
            probs["frame_prob"][row],
            segments[row],
            truth,
            each,
        )
        writer.write_images(step, {f"timelines/{split.name}/{name}": picture[None]})
