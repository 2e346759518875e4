"""Scores and labels as plain text for the terminal."""

import math
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Float, Int
from numpy import ndarray

from avvp_jax.metrics.scores import LEVELS, NAMES
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES, WHOLES
from avvp_jax.reports.published_scores import LLP_VIDEOS, Published

HEADS = {"audio": "A", "visual": "V", "audio_visual": "AV", "type": "Type", "event": "Event"}
VIDEO_HEADS = ("F", "AP") * len(WHOLES)
CELL = 6
SYNTHETIC_NOTE = "synthetic data: made up from a seed, not comparable with published scores"


def scores_table(
    rows: Mapping[str, Mapping[str, object]],
    published: Sequence[Published] = (),
    notes: Sequence[str] = (),
) -> str:
    """A table of the ten scores in percent, and below it one of the scores of whole videos.

    A table that no row has a score for is left out.

    Args:
        rows: label of a row, for example a split -> its scores by name (video_scores.ALL_NAMES);
            "-" stands for those that are missing.
        published: papers' scores, in rows below the ten.
        notes: lines below the tables, on what the scores are of.
    """
    tables, papers = [], {f"{row.method} (paper, test)": row.scores for row in published}
    if ten := _those_with(NAMES, rows):
        tables.append(_table("F-score, percent", NAMES, ten | papers))
    if whole := _those_with(VIDEO_NAMES, rows):
        tables.append(_video_table("whole videos, percent", whole))
    return "\n".join(["\n\n".join(tables), *notes])


def _those_with(
    names: Sequence[str], rows: Mapping[str, Mapping[str, object]]
) -> dict[str, list[float]]:
    """The scores of these names of all rows, NaN where one is missing; {} if no row has any."""
    if not any(name in scores for scores in rows.values() for name in names):
        return {}
    return {label: [scores.get(name, math.nan) for name in names] for label, scores in rows.items()}


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


def dense_note(split: str, dense: int, videos: int) -> str:
    """The line below scores of a split that is not densely annotated throughout; empty if it is."""
    if dense == videos:
        return ""
    if not dense:
        return f"{split}: no dense annotations, so only whole videos are scored"
    return f"{split}: segments and events are scored on {dense} of {videos} videos, those annotated"


def no_positive_note(split: str) -> str:
    """The line below scores of a split in which no class has a video."""
    return f"{split}: no video has a label, so whole videos are not scored"


def p_table(
    rows: Mapping[str, Float[ndarray, " scores"]], names: Collection[str] = ALL_NAMES
) -> str:
    """A table of p-values for each score, one row per test; "-" if there are too few seeds.

    Args:
        rows: label of a test -> the result of statistics.p_values.
        names: of the scores that there are.
    """
    tables, ten = [], len(NAMES)
    if not set(NAMES).isdisjoint(names):
        each = {label: list(row[:ten]) for label, row in rows.items()}
        tables.append(_table("p", NAMES, each, ".3f"))
    if not set(VIDEO_NAMES).isdisjoint(names):
        whole = {label: list(row[ten:]) for label, row in rows.items()}
        tables.append(_video_table("p (whole videos)", whole, ".3f"))
    return "\n\n".join(tables)


def per_class_table(
    classes: Sequence[str], per_class: Mapping[str, Float[ndarray, " classes"]]
) -> str:
    """A table of the result of scores.per_class; "-" if a class does not occur."""
    names = [name for name in NAMES if name in per_class]
    rows = {
        label: [per_class[name][index] for name in names] for index, label in enumerate(classes)
    }
    return _table("F-score, percent", names, rows)


def per_class_video_table(
    classes: Sequence[str],
    by_class: Float[ndarray, "6 classes"],
    positive: Int[ndarray, " classes"],
) -> str:
    """A table of the result of video_scores.by_class, and of how many videos have each class."""
    rows = {label: list(by_class[:, index]) for index, label in enumerate(classes)}
    counts = dict(zip(classes, map(str, positive.tolist()), strict=True))
    return _video_table("whole videos, percent", rows, more=("videos", counts))


def plain_table(corner: str, heads: list[str], rows: dict[str, list], form: str) -> str:
    """A table with one header line; the numbers of each row are formatted as `form` says."""
    stub = max(map(_width, (corner, *rows)))
    lines = [_padded(corner, stub) + "".join(f"  {head:>9}" for head in heads)]
    for label, row in rows.items():
        cells = (_cell(value, form) for value in row)
        lines.append(_padded(label, stub) + "".join(f"  {cell:>9}" for cell in cells))
    return "\n".join(lines)


def _table(
    corner: str, names: Sequence[str], rows: Mapping[str, Sequence[float]], form: str = ".1f"
) -> str:
    """A table with two header lines: the levels, and the streams of each level.

    The first half of `names` must be segment-level, the second half event-level.
    """
    half = len(names) // 2
    stub = max(map(_width, (corner, *rows)))

    def line(label: str, cells: Sequence[str]) -> str:
        cells = [f"{cell:>{CELL}}" for cell in cells]
        return f"{_padded(label, stub)}  {''.join(cells[:half])}  {''.join(cells[half:])}"

    levels = "  ".join(
        f"{f' {level}-level ':-^{CELL * half - 2}}".rjust(CELL * half) for level in LEVELS
    )
    heads = [HEADS[name.split("/")[1]] for name in names]
    numbers = (line(label, [_cell(value, form) for value in row]) for label, row in rows.items())
    return "\n".join((f"{'':<{stub}}  {levels}", line(corner, heads), *numbers))


def _video_table(
    corner: str,
    rows: Mapping[str, Sequence[float]],
    form: str = ".1f",
    more: tuple[str, Mapping[str, str]] = ("", {}),
) -> str:
    """A table of VIDEO_NAMES with two header lines: WHOLES, and the measures of each.

    Args:
        more: the head and the cells of a column behind.
    """
    stub = max(map(_width, (corner, *rows)))
    head, last = more

    def line(label: str, cells: Sequence[str], end: str) -> str:
        pairs = [f"{a:>{CELL}}{b:>{CELL}}" for a, b in zip(cells[::2], cells[1::2], strict=True)]
        return f"{_padded(label, stub)}  {'  '.join(pairs)}" + (f"  {end:>{CELL}}" if head else "")

    wholes = "  ".join(f"{f' {whole} ':-^{2 * CELL - 2}}".rjust(2 * CELL) for whole in WHOLES)
    numbers = (
        line(label, [_cell(value, form) for value in row], last.get(label, ""))
        for label, row in rows.items()
    )
    return "\n".join((f"{'':<{stub}}  {wholes}", line(corner, VIDEO_HEADS, head), *numbers))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """How many cells of a terminal a text takes: signs of East Asia take two, accents none."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def _cell(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
