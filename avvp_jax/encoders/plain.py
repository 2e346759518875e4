"""Features without a network: statistics of spectrograms, and histograms of frames.

They need no weights and little time. Constants shift and scale all of them to numbers of order one,
on which parsers train as they do on a network's. How wide they are is in avvp_jax/streams.py.
"""

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt8

from avvp_jax.encoders.log_mel import OFFSET

VIEW = "r2plus1d"  # of media/views.py: what they are made of
_CELLS = 4  # along each side of a picture; a small thing fills one of them
_LEVELS = 4  # of each channel of a colour
_DIRECTIONS = 8  # of a gradient, a whole turn
_CHANGES = np.array((2, 4, 8, 16, 32, 64, 128), np.float32)  # of grey from 0 to 255, bin edges
_LAGS = (1, 2, 4)  # frames between two that are compared: what swings comes back


def sound(spectrograms: Float32[np.ndarray, "rows 96 64"]) -> Float32[np.ndarray, "rows 256"]:
    """The mean, spread, highest value and change of each band in each second.

    Args:
      spectrograms: see log_mel.log_mels.
    """
    level = spectrograms - np.float32(np.log(OFFSET))
    change = np.abs(np.diff(level, axis=1)).mean(axis=1)
    parts = (
        0.5 * level.mean(axis=1) - 1,
        2 * level.std(axis=1) - 1,
        0.5 * level.max(axis=1) - 1.5,
        2 * change - 0.5,
    )
    return np.concatenate(parts, axis=1, dtype=np.float32)


def frames(pictures: UInt8[np.ndarray, "n 112 112 3"]) -> Float32[np.ndarray, "n 160"]:
    """The colours and the directions of edges in each picture, and in the cell with most of each.

    Args:
      pictures: of VIEW.
    """
    step = 256 // _LEVELS
    red, green, blue = np.moveaxis(pictures // step, -1, 0)
    colour = (red * _LEVELS + green) * _LEVELS + blue
    colours = _by_cell(colour, None, _LEVELS**3)
    grey = _grey(pictures)
    parts = [_spread_over_cells(colours)]
    for scale in (2, 4):
        direction, strength = _gradients(_reduced(grey, scale))
        edges = _by_cell(direction % _DIRECTIONS, strength, _DIRECTIONS)
        parts.append(_spread_over_cells(edges / 32))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def motion(clips: UInt8[np.ndarray, "n 8 112 112 3"]) -> Float32[np.ndarray, "n 80"]:
    """How much changes within each clip, between frames one, two and four apart, and which way.

    Args:
      clips: the pictures of a segment each, of VIEW.
    """
    number, length = clips.shape[:2]
    grey = _reduced(_grey(clips.reshape(-1, *clips.shape[2:])), 2)
    grey = grey.reshape(number, length, *grey.shape[1:])
    parts = []
    for lag in _LAGS:
        change = grey[:, lag:] - grey[:, :-lag]
        pairs = change.reshape(-1, *change.shape[2:])
        size = np.searchsorted(_CHANGES, np.abs(pairs)).astype(np.uint8)
        sizes = _by_cell(size, None, len(_CHANGES) + 1)
        parts.append(_by_clip(_spread_over_cells(sizes), number).mean(axis=1))
    direction, _ = _gradients(grey[:, 1:].reshape(-1, *grey.shape[2:]))
    change = (grey[:, 1:] - grey[:, :-1]).reshape(-1, *grey.shape[2:])
    # What becomes brighter comes from where it is brighter.
    ways = (direction + _DIRECTIONS // 2 * (change > 0)) % _DIRECTIONS
    ways = _by_cell(ways, np.abs(change), _DIRECTIONS) / 16
    ways = _by_clip(_spread_over_cells(ways), number)
    parts += [ways.mean(axis=1), ways.std(axis=1)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _by_clip(rows: Float[np.ndarray, "rows width"], clips: int) -> Float[np.ndarray, "n _ width"]:
    """Rows of each of so many clips, one after the other."""
    return rows.reshape(clips, len(rows) // max(1, clips), rows.shape[1])


def _grey(pictures: UInt8[np.ndarray, "n side side 3"]) -> Float32[np.ndarray, "n side side"]:
    return pictures @ np.array((0.299, 0.587, 0.114), np.float32)


def _reduced(grey: Float32[np.ndarray, "n side side"], scale: int) -> Float32[np.ndarray, "n _ _"]:
    """Pictures `scale` times smaller, by averages."""
    number, side = grey.shape[:2]
    small = side // scale
    return grey.reshape(number, small, scale, small, scale).mean(axis=(2, 4))


def _gradients(
    grey: Float32[np.ndarray, "n side side"],
) -> tuple[Integer[np.ndarray, "n side side"], Float32[np.ndarray, "n side side"]]:
    """The direction of each pixel's gradient, from 0 to _DIRECTIONS - 1, and its strength."""
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    turn = np.arctan2(down, right) * np.float32(_DIRECTIONS / (2 * np.pi))
    return np.rint(turn).astype(np.int8) % _DIRECTIONS, np.hypot(down, right)


def _by_cell(
    bins: Integer[np.ndarray, "n side side"],
    weights: Float32[np.ndarray, "n side side"] | None,
    count: int,
) -> Float[np.ndarray, "n cells count"]:
    """Histograms of each cell of each picture: shares of its pixels, or sums over weights."""
    number, side = bins.shape[:2]
    cell = np.arange(side, dtype=np.int32) * _CELLS // side
    place = cell[:, None] * _CELLS + cell
    cells = np.arange(number, dtype=np.int32)[:, None, None] * _CELLS**2 + place
    index = (cells * count + bins).ravel()
    total = number * _CELLS**2 * count
    sums = np.bincount(index, None if weights is None else weights.ravel(), total)
    return sums.reshape(number, _CELLS**2, count) * (_CELLS / side) ** 2


def _spread_over_cells(
    cells: Float[np.ndarray, "n cells count"],
) -> Float[np.ndarray, "n twice"]:
    """Bins over the whole picture, and in the cell where each is highest; roots, so that rare
    ones count."""
    both = np.concatenate([cells.mean(axis=1), cells.max(axis=1)], axis=1)
    return 3 * np.sqrt(both) - 0.4
