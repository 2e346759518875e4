"""A picture of one parsed video: predicted and annotated events over time."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from avvp_jax.metrics.events import events_of
from avvp_jax.metrics.scores import PER_VIDEO_NAMES
from avvp_jax.reports.pictures import (
    Axes,
    Figure,
    FigureCanvasAgg,
    LinearSegmentedColormap,
    Patch,
    Rectangle,
    plain_style,
    write_picture,
)
from avvp_jax.task import MODALITIES, Task

# Blue and orange can be told apart with every kind of colour vision.
COLOURS = {"audio": "#1f6fb2", "visual": "#d1661c"}
ANNOTATED = "#30343a"
QUIET = "#6b7280"  # secondary text and ticks
# Inches. The height grows with the number of rows, so that text and bars keep their size.
WIDTH, ROW, ABOVE, BELOW, LEFT, RIGHT = 10.5, 0.36, 0.9, 0.85, 2.0, 0.25
TICKS = 10  # approximate number of ticks on the time axis
MOST_APART = 100  # segments with lines between them; more are too narrow for that
THINNEST = 300  # no bar is less than this part of the axis, so that each can be seen


@plain_style()
def draw_timeline(
    path: str | Path | None,
    filename: str,
    task: Task,
    frame_prob: Float[np.ndarray, "segments 2 classes"],
    predicted: Bool[np.ndarray, "segments 2 classes"],
    annotated: Bool[np.ndarray, "segments 2 classes"] | None = None,
    scores: Float[np.ndarray, "8"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws one video: audio and visual side by side, with a row for each class that occurs.

    Each row shows the segments' probability as shading, annotated events as dark bars and
    predicted events as bars in the modality's colour.

    Args:
        path: .png file to write (atomically), or None to write none.
        filename: the video's name, for the title.
        task: gives the names of classes and the times of segments.
        annotated: None if there is no annotation.
        scores: the video's row of scores.per_video; the title shows its segment-level Type and
            Event F-scores.

    Returns:
        The picture as an array, for TensorBoard.
    """
    occurs = predicted if annotated is None else predicted | annotated
    shown = np.flatnonzero(occurs.any(axis=(0, 1)))
    rows = max(len(shown), 1)
    height = ABOVE + ROW * rows + BELOW
    figure = Figure(figsize=(WIDTH, height), dpi=110, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(
        1,
        2,
        sharey=True,
        gridspec_kw={
            "left": LEFT / WIDTH,
            "right": 1 - RIGHT / WIDTH,
            "bottom": BELOW / height,
            "top": 1 - ABOVE / height,
            "wspace": 0.07,
        },
    )
    for index, (modality, panel) in enumerate(zip(MODALITIES, panels, strict=True)):
        _set_up_axes(panel, modality, task, rows)
        if not len(shown):
            panel.text(task.segments / 2, 0.5, "no event", ha="center", va="center", color=QUIET)
            continue
        truth = None if annotated is None else annotated[:, index, shown]
        _draw_spans(panel, modality, frame_prob[:, index, shown], predicted[:, index, shown], truth)
    names = [task.classes[index].replace("_", " ") for index in shown]
    # Names may hold dollars, which are no formulas.
    panels[0].set_yticks(np.arange(len(names)) + 0.5, names, parse_math=False)
    _draw_title(figure, height, filename, scores)
    _draw_legend(figure, height, annotated is not None)

    return write_picture(path, canvas)


def _set_up_axes(panel: Axes, modality: str, task: Task, rows: int) -> None:
    """Sets up one modality's axes: time to the right, in seconds, and classes downwards."""
    panel.set_xlim(0, task.segments)
    panel.set_ylim(rows, 0)
    panel.set_title(modality, color=COLOURS[modality], fontsize=11, fontweight="bold", loc="left")
    boundaries = range(0, task.segments + 1, max(1, task.segments // TICKS))
    panel.set_xticks(boundaries, [str(task.time(boundary)) for boundary in boundaries])
    panel.set_yticks([])
    panel.tick_params(axis="x", length=0, labelsize=9, labelcolor=QUIET)
    panel.tick_params(axis="y", length=0, labelsize=10, labelcolor=ANNOTATED)
    panel.set_xlabel("seconds", fontsize=9, color=QUIET)
    for side in panel.spines.values():
        side.set_visible(False)


def _draw_spans(
    panel: Axes,
    modality: str,
    prob: Float[np.ndarray, "segments rows"],
    predicted: Bool[np.ndarray, "segments rows"],
    annotated: Bool[np.ndarray, "segments rows"] | None,
) -> None:
    """Draws one modality's shading and bars; row r spans r to r + 1 on the vertical axis."""
    segments, rows = prob.shape
    panel.pcolormesh(
        np.arange(segments + 1),
        np.arange(rows + 1),
        prob.T,
        cmap=_shades(modality),
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidth=0.6 if segments <= MOST_APART else 0,
    )
    panel.hlines(np.arange(1, rows), 0, segments, color="white", linewidth=4)
    lanes = [(predicted, 0.5, COLOURS[modality])]
    if annotated is not None:
        lanes = [(annotated, 0.3, ANNOTATED), (predicted, 0.7, COLOURS[modality])]
    for active, middle, colour in lanes:
        for row, onset, offset in events_of(active):
            corner = (onset + 0.06, row + middle - 0.12)
            width = max(offset - onset - 0.12, segments / THINNEST)
            panel.add_patch(Rectangle(corner, width, 0.24, color=colour, lw=0))


def _shades(modality: str) -> LinearSegmentedColormap:
    """A colour map from near white to a light tint, so that bars stand out on it."""
    dark = np.array([int(COLOURS[modality][i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return LinearSegmentedColormap.from_list(modality, [(0.955, 0.96, 0.965), 0.45 + 0.55 * dark])


def _draw_title(figure: Figure, height: float, filename: str, scores: np.ndarray | None) -> None:
    left, right, top = 0.2 / WIDTH, 1 - RIGHT / WIDTH, 1 - 0.3 / height
    figure.text(left, top, filename, fontsize=13, fontweight="bold", va="center", parse_math=False)
    if scores is None:
        return
    f = dict(zip(PER_VIDEO_NAMES, 100 * np.asarray(scores), strict=True))
    kind = np.mean([f["segment/audio"], f["segment/visual"], f["segment/audio_visual"]])
    text = f"segment-level F-score:  Type {kind:.1f}   Event {f['segment/event']:.1f}"
    figure.text(right, top, text, fontsize=10.5, ha="right", va="center", color=QUIET)


def _draw_legend(figure: Figure, height: float, with_annotated: bool) -> None:
    """Explains bars and shading, once for both modalities."""
    entries = [
        Patch(color=COLOURS[modality], label=f"predicted, {modality}") for modality in MODALITIES
    ]
    if with_annotated:
        entries.insert(0, Patch(color=ANNOTATED, label="annotated"))
    entries += [
        Patch(color=_shades(modality)(0.8), label=f"{modality} probability, darker is higher")
        for modality in MODALITIES
    ]
    figure.legend(
        handles=entries,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.04 / height),
        ncols=len(entries),
        fontsize=8.5,
        frameon=False,
        handlelength=1.4,
        handleheight=0.7,
        columnspacing=1.4,
        labelcolor=QUIET,
    )
