"""The videos of a run with the largest gain to be had: timelines, scores and players.

The gain of a video is 100 minus the mean of its Type and Event scores of segments and events: what
these would rise by if all were right. Where nothing is densely annotated, it is how many labels of
the whole video are missed or wrong.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from avvp_jax.errors import UserError
from avvp_jax.media import opening
from avvp_jax.media.extent import said
from avvp_jax.media.folders import name_of, videos_in
from avvp_jax.metrics.events import events_of
from avvp_jax.metrics.scores import NAMES, ten_per_video
from avvp_jax.metrics.video_scores import THRESHOLD, whole_counts, whole_probabilities
from avvp_jax.reports.pages.media import LONGEST, Embedded, sources
from avvp_jax.reports.pages.names import visible
from avvp_jax.reports.results import Scored
from avvp_jax.storage.writing import on_cloud
from avvp_jax.task import MODALITIES

MOST = 50
JUDGED = ("segment/type", "segment/event", "event/type", "event/event")
_CUT = re.compile(r"(.+)_([0-9]{1,9}(?:\.[0-9]{1,9})?)_[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)


class Gains(NamedTuple):
    """How much could be gained in each video of a split.

    Attributes:
      rows: of the videos that are judged.
      gain: of each of them, in points of the scores, or in labels.
      scores: their ten scores; None where nothing is densely annotated.
      annotated: how many segments are annotated, or labels; of equal gains, more weigh more.
    """

    rows: np.ndarray
    gain: np.ndarray
    scores: np.ndarray | None
    annotated: np.ndarray


def gains(scored: Scored) -> Gains:
    """The gain to be had in each video that can be judged."""
    split = scored.split
    if split.truth is None:
        label = split.weak_label > 0
        counts = whole_counts(whole_probabilities(scored.probs), label)
        gain = counts[:, 1:].sum(axis=1).astype(float)
        return Gains(np.arange(len(split)), gain, None, label.sum(axis=1))
    rows = np.arange(len(split))[split.dense_rows]
    ten = ten_per_video(scored.segments[rows], split.truth[rows] > 0)
    judged = ten[:, [NAMES.index(name) for name in JUDGED]]
    annotated = (split.truth[rows] > 0).sum(axis=(1, 2, 3))
    return Gains(rows, 100 - judged.mean(axis=1), ten, annotated)


def largest_gains(scored: Sequence[Scored]) -> list[tuple[Scored, Gains, int]]:
    """The videos with the largest gain of all splits: of which, and their places among its rows."""
    found = []
    for order, each in enumerate(scored):
        judged = gains(each)
        places = np.lexsort((-judged.annotated, -judged.gain.round(6)))[:MOST].tolist()
        # Points of scores and numbers of labels cannot be ordered together.
        found += [
            (
                judged.scores is None,
                -round(judged.gain[place], 6),
                -judged.annotated[place],
                order,
                place,
                each,
                judged,
            )
            for place in places
            if judged.gain[place] > 0
        ]
    found.sort(key=lambda video: video[:5])
    return [(each, judged, place) for *_, place, each, judged in found[:MOST]]


def described(
    scored: Sequence[Scored], files: Mapping[str, str], page: str, embed: bool
) -> tuple[list[dict], list[dict], Embedded]:
    """What the page says of those videos, what it draws when they come into view, and media.

    Args:
      files: name of a video file -> its path, see `files_in`.
      page: the path of the page.
      embed: whether to put short media into the page.
    """
    summaries, details, media = [], [], Embedded()
    for each, judged, place in largest_gains(scored):
        row, split = int(judged.rows[place]), each.split
        classes = [visible(label) for label in split.task.classes]
        labels = [classes[c] for c in np.flatnonzero(split.weak_label[row])]
        found = whole_probabilities(each.probs)[row, 0] >= THRESHOLD
        wrong = found & ~(split.weak_label[row] > 0)
        missed = ~found & (split.weak_label[row] > 0)
        ten = None if judged.scores is None else judged.scores[place]
        summaries.append(
            {
                "name": visible(split.filenames[row]),
                "split": split.name,
                "gain": f"{judged.gain[place]:.0f}",
                "labels": labels,
                "wrong": [classes[c] for c in np.flatnonzero(wrong)],
                "missed": [classes[c] for c in np.flatnonzero(missed)],
                "scores": None
                if ten is None
                else [(name, f"{ten[NAMES.index(name)]:.0f}") for name in NAMES],
            }
        )
        segments = split.task.segments if split.lengths is None else int(split.lengths[row])
        details.append(
            {
                "rows": timelines(each, row),
                "segments": segments,
                "seconds": split.task.seconds,
                "player": _player(split.filenames[row], split.ids[row], files, page, embed, media),
            }
        )
    return summaries, details, media


def timelines(scored: Scored, row: int) -> list[dict]:
    """The rows of strips.js: each class that is predicted or annotated, with its events."""
    split = scored.split
    dense = split.truth is not None and (split.dense is None or split.dense[row])
    sides = {"predicted": scored.segments[row]}
    if dense:
        sides["annotated"] = split.truth[row] > 0
    there = np.stack([side.any(axis=0) for side in sides.values()]).any(axis=0)
    spans: dict = {}
    for kind, side in sides.items():
        for index, modality in enumerate(MODALITIES):
            for label, onset, offset in events_of(side[:, index]):
                spans.setdefault((label, modality, kind), []).append([onset, offset])
    rows = []
    for label in np.flatnonzero(there.any(axis=0)).tolist():
        lanes = [
            {
                "name": f"{kind} {verb}",
                "kind": kind,
                "modality": modality,
                "spans": spans.get((label, modality, kind), []),
            }
            for index, (modality, verb) in enumerate(
                zip(MODALITIES, ("heard", "seen"), strict=True)
            )
            for kind in sides
            if there[index, label]
        ]
        rows.append({"label": visible(split.task.classes[label]), "lanes": lanes})
    return rows


def files_in(folder: str) -> dict[str, str]:
    """The videos of a folder by the names of their files; {} if it cannot be read.

    Of several files of one name the first counts.
    """
    try:
        paths = videos_in(folder, or_none=True) if folder else []
    except UserError:
        return {}
    return {name_of(path): path for path in reversed(paths)}


def _player(
    filename: str, name: str, files: Mapping[str, str], page: str, embed: bool, media: Embedded
) -> dict | None:
    """Where the player finds a video, and where its clip starts in a longer file."""
    cut = _CUT.fullmatch(filename)
    start = float(cut[2]) if cut else 0.0
    if filename in files:
        path, start = files[filename], 0.0
    else:
        path = files.get(name) or files.get(cut[1] if cut else "")
    if not path:
        return None
    player = {"start": start, "sources": sources(path, "gs://" if on_cloud(page) else _of(page))}
    if embed and (seconds := _seconds(path)) is not None:
        player["block"] = media.add(filename, path, seconds)
    elif embed:
        media.linked.append((filename, f"not known to be shorter than {LONGEST:g} s"))
    return player


def _of(page: str) -> str:
    return os.path.dirname(os.path.abspath(page))


def _seconds(path: str) -> float | None:
    """How long a file says that it is; None if it cannot be read."""
    try:
        with opening.opened(path) as file:
            return said(file) or None
    except (UserError, OSError):
        return None
