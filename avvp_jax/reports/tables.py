"""Scores and labels as plain text for the terminal."""

import math
from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from numpy import ndarray

from avvp_jax.metrics.scores import LEVELS, NAMES
from avvp_jax.reports.published_scores import LLP_VIDEOS, Published

HEADS = {"audio": "A", "visual": "V", "audio_visual": "AV", "type": "Type", "event": "Event"}
CELL = 6
SYNTHETIC_NOTE = "synthetic data: made up from a seed, not comparable with published scores"


def scores_table(
    rows: Mapping[str, Mapping[str, object]],
    published: Sequence[Published] = (),
    notes: Sequence[str] = (),
) -> str:
    """A table of the ten scores in percent.

    Args:
        rows: label of a row, for example a split -> the ten scores by name (scores.NAMES).
        published: papers' scores, in rows below.
        notes: lines below the table, on what the scores are of.
    """
    lines = {label: [scores[name] for name in NAMES] for label, scores in rows.items()}
    for row in published:
        lines[f"{row.method} (paper, test)"] = row.scores
    return "\n".join([_table("F-score, percent", NAMES, lines), *notes])


def of_all(videos: int, annotated: int | None) -> str:
    """How many of a split's videos were scored; empty if all of them.

    Args:
        annotated: how many the split has; None if that is not known, because some lack features.
    """
    if videos == annotated:
        return ""
    return f"{videos} of {annotated or 'perhaps more'} videos"


def other_split_note(split: str, annotated: int | None) -> str:
    """The line below scores of a split that is not LLP's; empty if it has as many videos."""
    if annotated == LLP_VIDEOS[split]:
        return ""
    return (
        f"{split}: its csv names {annotated} videos, LLP's {LLP_VIDEOS[split]}; not comparable "
        "with published scores"
    )


def fewer_note(split: str, of: str) -> str:
    """The line below scores of fewer videos than a split has; `of` is what `of_all` says."""
    return (
        f"{split}: {of}, because the others lack features; not comparable with published scores, "
        "nor with those of all videos"
    )


def p_table(rows: Mapping[str, Float[ndarray, " scores"]]) -> str:
    """A table of p-values for each score, one row per test; "-" if there are too few seeds."""
    lines = {label: list(row) for label, row in rows.items()}
    return _table("p", NAMES, lines, ".3f")


def per_class_table(
    classes: Sequence[str], per_class: Mapping[str, Float[ndarray, " classes"]]
) -> str:
    """A table of the result of scores.per_class; "-" if a class does not occur."""
    names = [name for name in NAMES if name in per_class]
    rows = {
        label: [per_class[name][index] for name in names] for index, label in enumerate(classes)
    }
    return _table("F-score, percent", names, rows)


def removed_table(
    classes: Sequence[str],
    weak_label: Float[ndarray, "videos classes"],
    audio: Bool[ndarray, "videos classes"],
    visual: Bool[ndarray, "videos classes"],
) -> str:
    """A table of each class's number of labels, and of those removed from each modality."""
    columns = {"labels": weak_label, "no audio": audio, "no visual": visual}
    rows = {name: [int(x[:, i].sum()) for x in columns.values()] for i, name in enumerate(classes)}
    rows["all classes"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    return _plain_table("labels removed", list(columns), rows, "d")


def ratios_table(
    classes: Sequence[str], audio: Float[ndarray, " classes"], visual: Float[ndarray, " classes"]
) -> str:
    """A table of each class's noise ratios, audio and visual."""
    rows = {name: [audio[i], visual[i]] for i, name in enumerate(classes)}
    return _plain_table("noise ratio", ["audio", "visual"], rows, ".3f")


def teachers_table(
    classes: Sequence[str],
    columns: Mapping[str, Float[ndarray, " classes"]],
    means: Mapping[str, float],
) -> str:
    """A table of VALOR's teachers' segment-level F-scores in percent.

    A row for each class, and one for the mean over videos.
    """
    rows = {name: [column[i] for column in columns.values()] for i, name in enumerate(classes)}
    rows["mean over videos"] = list(means.values())
    return _plain_table("teachers' segment F, percent", list(columns), rows, ".1f")


def _plain_table(corner: str, heads: list[str], rows: dict[str, list], form: str) -> str:
    stub = max(map(len, (corner, *rows)))
    lines = [f"{corner:<{stub}}" + "".join(f"  {head:>9}" for head in heads)]
    for label, row in rows.items():
        cells = (_cell(value, form) for value in row)
        lines.append(f"{label:<{stub}}" + "".join(f"  {cell:>9}" for cell in cells))
    return "\n".join(lines)


def _table(
    corner: str, names: Sequence[str], rows: Mapping[str, Sequence[float]], form: str = ".1f"
) -> str:
    """A table with two header lines: the levels, and the streams of each level.

    The first half of `names` must be segment-level, the second half event-level.
    """
    half = len(names) // 2
    stub = max(map(len, (corner, *rows)))

    def line(label: str, cells: Sequence[str]) -> str:
        cells = [f"{cell:>{CELL}}" for cell in cells]
        return f"{label:<{stub}}  {''.join(cells[:half])}  {''.join(cells[half:])}"

    levels = "  ".join(
        f"{f' {level}-level ':-^{CELL * half - 2}}".rjust(CELL * half) for level in LEVELS
    )
    heads = [HEADS[name.split("/")[1]] for name in names]
    numbers = (line(label, [_cell(value, form) for value in row]) for label, row in rows.items())
    return "\n".join((f"{'':<{stub}}  {levels}", line(corner, heads), *numbers))


def _cell(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
