"""matplotlib, for pictures that go to files, whatever the environment says about screens.

Drawing needs neither pyplot nor a screen: figures are drawn to memory. Whoever draws imports
matplotlib's names from here, because importing matplotlib itself can fail. Once this file is
imported, `import matplotlib` works for other libraries too.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from avvp_jax.storage.writing import write_whole


def _import_matplotlib() -> None:
    """Imports matplotlib also where its settings are unusable; what they say else stays in force.

    MPLBACKEND may name a backend that is not installed here, as a notebook's is for the programs
    that it starts, and the file matplotlibrc may be damaged.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.get("MPLBACKEND")
    with _variable("MPLBACKEND", None):
        try:
            import matplotlib
        except (OSError, ValueError):
            for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
                del sys.modules[name]
            with _variable("MATPLOTLIBRC", os.devnull):
                import matplotlib
    if backend:
        with contextlib.suppress(Exception):
            matplotlib.rcParams["backend"] = backend  # as matplotlib does, for others in here


@contextlib.contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    """Sets a variable of the environment for a while; None leaves it out."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


_import_matplotlib()

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Patch, Rectangle

__all__ = ["Axes", "Figure", "FigureCanvasAgg", "LinearSegmentedColormap", "Patch", "Rectangle"]
__all__ += ["plain_style", "write_picture"]


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """What is drawn meanwhile looks the same everywhere: a matplotlibrc may ask for LaTeX."""
    with style.context("default"), warnings.catch_warnings():
        # A sign that no font has becomes a box; matplotlib would say so in lines of its own.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def write_picture(
    path: str | Path | None, canvas: FigureCanvasAgg
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws a canvas and returns the picture; also writes it as .png if a path is given."""
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    if path is not None:
        content = io.BytesIO()
        imsave(content, image, format="png")
        write_whole(path, content.getvalue())
    return image
