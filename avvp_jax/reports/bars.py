"""A bar chart with one number for each class and modality."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from avvp_jax.reports.pictures import Figure, FigureCanvasAgg, plain_style, write_picture
from avvp_jax.reports.timelines import COLOURS
from avvp_jax.task import MODALITIES


@plain_style()
def draw_bars(
    path: str | Path,
    title: str,
    classes: Sequence[str],
    values: dict[str, Float[np.ndarray, " classes"]],
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws `audio` and `visual` values side by side; writes a .png and returns the picture."""
    figure = Figure(figsize=(10.5, 4.2), dpi=110, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = np.arange(len(classes))
    for index, modality in enumerate(MODALITIES):
        shift = (index - 0.5) * 0.4
        axes.bar(places + shift, values[modality], 0.4, color=COLOURS[modality], label=modality)
    names = [name.replace("_", " ") for name in classes]
    # Names may hold dollars, which are no formulas.
    axes.set_xticks(places, names, rotation=50, ha="right", fontsize=8, parse_math=False)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return write_picture(path, canvas)
