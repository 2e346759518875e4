"""How well each class is found, and what it is mistaken for, for the page of a run."""

import math

import numpy as np

from avvp_jax.metrics.confusions import confusions
from avvp_jax.metrics.scores import per_class
from avvp_jax.metrics.video_scores import VIDEO_NAMES, by_class, whole_probabilities
from avvp_jax.reports.pages.names import visible
from avvp_jax.reports.results import Scored
from avvp_jax.task import MODALITIES

MOST_LISTED, MOST_IN_MATRIX = 15, 12
_LEVELS_OF_SHADE = 4


def class_table(scored: Scored) -> dict:
    """A row for each class: how often it occurs, and its scores.

    Where videos are densely annotated: seconds heard and seen, and the F-scores of segments. Scores
    of whole videos otherwise.
    """
    split = scored.split
    counts = (split.weak_label > 0).sum(axis=0)
    whole = dict(
        zip(VIDEO_NAMES, by_class(whole_probabilities(scored.probs), split.weak_label), strict=True)
    )
    columns = [("videos", "count", "", counts)]
    if split.truth is not None:
        rows = split.dense_rows
        truth = split.truth[rows] > 0
        f = per_class(scored.segments[rows], truth)
        for index, (modality, verb) in enumerate(zip(MODALITIES, ("heard", "seen"), strict=True)):
            seconds = truth[:, :, index].sum(axis=(0, 1)) * split.task.seconds
            columns.append((f"{verb}, s", "count", modality, seconds))
            columns.append((f"F {verb}", "score", modality, f[f"segment/{modality}"]))
    else:
        columns.append(("F, whole video", "score", "", whole["video/f"]))
        columns.append(("AP, whole video", "score", "", whole["video/ap"]))
        columns.append(("AP heard", "score", "audio", whole["video/audio_ap"]))
        columns.append(("AP seen", "score", "visual", whole["video/visual_ap"]))
    most = {head: max(float(np.nanmax(x, initial=0)), 1e-9) for head, _, _, x in columns}
    return {
        "name": split.name,
        "dense": split.truth is not None,
        "heads": [(head, kind, modality) for head, kind, modality, _ in columns],
        "rows": [
            (
                visible(label),
                [
                    cell(float(x[i]), 100 if kind == "score" else most[head], kind, modality)
                    for head, kind, modality, x in columns
                ],
            )
            for i, label in enumerate(split.task.classes)
        ],
    }


def cell(value: float, full: float, kind: str, modality: str) -> dict:
    """A number of a table with its bar, in hundredths of the longest."""
    known = math.isfinite(value)
    shown = f"{value:.1f}" if kind == "score" else f"{value:,.6g}"
    return {
        "value": value if known else -1,
        "text": shown if known else "–",
        "bar": round(100 * min(max(value / full, 0), 1), 1) if known else 0,
        "modality": modality,
    }


def confusion_tables(scored: Scored) -> dict | None:
    """What is mistaken for what, heard and seen; None where nothing is densely annotated."""
    split = scored.split
    if split.truth is None:
        return None
    rows, seconds = split.dense_rows, split.task.seconds
    taken, elsewhere = confusions(scored.segments[rows], split.truth[rows] > 0)
    classes = [*map(visible, split.task.classes), ""]
    return {
        "name": split.name,
        "modalities": [
            _of_modality(classes, matrix * seconds, verb)
            for matrix, verb in zip(taken, ("heard", "seen"), strict=True)
        ],
        "elsewhere": _elsewhere(classes, elsewhere * seconds),
    }


def _of_modality(classes: list[str], matrix: np.ndarray, verb: str) -> dict:
    """The largest confusions in words, and a matrix of the classes in them; in seconds."""
    nothing = len(classes) - 1
    order = [divmod(int(i), nothing + 1) for i in np.argsort(-matrix, axis=None, kind="stable")]
    order = [(t, p) for t, p in order if matrix[t, p] > 0]
    between = [(t, p) for t, p in order if nothing not in (t, p)]
    involved = list(dict.fromkeys(c for pair in between for c in pair))[:MOST_IN_MATRIX]
    places = [*sorted(involved), nothing] if involved else []
    largest = max((matrix[t, p] for t in places for p in places), default=1) or 1
    table = [(classes[t], [_shaded(matrix[t, p], largest, t == p) for p in places]) for t in places]
    return {
        "verb": verb,
        "list": [(classes[t], classes[p], _seconds(matrix[t, p])) for t, p in between][
            :MOST_LISTED
        ],
        "missed": [(classes[t], _seconds(matrix[t, p])) for t, p in order if p == nothing][:5],
        "invented": [(classes[p], _seconds(matrix[t, p])) for t, p in order if t == nothing][:5],
        "heads": [classes[p] for p in places],
        "table": table,
    }


def _shaded(seconds: float, largest: float, same: bool) -> tuple[str, int]:
    """A cell of the matrix: its text, and how dark it is (0 to 4)."""
    if same or not seconds:
        return "", 0
    return _seconds(seconds), max(1, math.ceil(_LEVELS_OF_SHADE * (seconds / largest) ** 0.5))


def _elsewhere(classes: list[str], seconds: np.ndarray) -> list[tuple[str, list[str]]]:
    """Rows of classes with what is found in the wrong modality, the largest sum first."""
    sums = seconds.sum(axis=(0, 1))
    order = [int(i) for i in np.argsort(-sums, kind="stable") if sums[i] > 0][:MOST_LISTED]
    return [(classes[i], [_seconds(float(x)) for x in seconds[:, :, i].flat]) for i in order]


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
