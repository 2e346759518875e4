"""What networks see of a video's frames: which ones, and how they are resized."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from avvp_jax.media.opening import library

Rgb = UInt8[np.ndarray, "height width 3"]
Frame = Rgb | Float32[np.ndarray, "height width 3"]
_RESIZED, _CROP, _SQUARE = 256, 224, 112


class View(NamedTuple):
    """How many frames a network sees of ten segments, and what becomes of each.

    Attributes:
      frames: for each segment.
      of: a frame as the network sees it.
      dark: height and width of a frame where there is no picture.
      dtype: of what the network sees: uint8, or float32 from 0 to 1.
    """

    frames: int
    of: Callable[[Rgb], Frame]
    dark: tuple[int, int]
    dtype: type = np.uint8


def indices(frames: int, wanted: int) -> Int64[np.ndarray, " wanted"]:
    """Frames spread over a whole video, the first and the last among them, as published.

    Args:
      frames: how many there are, at least one; if fewer than wanted, some come again.
      wanted: how many to take.
    """
    return np.round(np.linspace(0, frames - 1, wanted)).astype(np.int64)


def middles(frames: int, wanted: int) -> Int64[np.ndarray, " wanted"]:
    """The frames in the middle of equal parts of a video."""
    return (2 * np.arange(wanted) + 1) * frames // (2 * wanted)


def crop(picture: Rgb) -> UInt8[np.ndarray, "224 224 3"]:
    """The middle of a picture whose shorter side is made 256 pixels long, for ResNet."""
    image = library("PIL.Image").fromarray(picture)
    width, height = image.size
    shorter = min(width, height)
    if shorter != _RESIZED:
        size = [int(_RESIZED * side / shorter) for side in (width, height)]
        image = image.resize(size, library("PIL.Image").Resampling.BILINEAR)
    width, height = image.size
    top, left = (round((side - _CROP) / 2) for side in (height, width))
    return np.asarray(image.crop((left, top, left + _CROP, top + _CROP)))


def square(picture: Rgb) -> UInt8[np.ndarray, "112 112 3"]:
    """A whole picture squeezed to 112 x 112, for R(2+1)D."""
    image = library("PIL.Image").fromarray(picture)
    return np.asarray(image.resize((_SQUARE, _SQUARE), library("PIL.Image").Resampling.BILINEAR))


def blended(picture: Rgb, size: int) -> Float32[np.ndarray, "size size 3"]:
    """A whole picture squeezed to a square as for published CLIP features, from 0 to 1.

    Each pixel blends the four nearest ones however much smaller the square is, which CLIP's own
    programs do not do.
    """
    above, below, down = _neighbours(picture.shape[0], size)
    left, right, across = _neighbours(picture.shape[1], size)
    upper, lower = (picture[each].astype(np.float32) / 255 for each in (above, below))
    rows = upper + (lower - upper) * down[:, None, None]
    first = rows[:, left]
    return first + (rows[:, right] - first) * across[:, None]


@functools.cache
def _neighbours(
    given: int, wanted: int
) -> tuple[
    Int64[np.ndarray, " wanted"], Int64[np.ndarray, " wanted"], Float32[np.ndarray, " wanted"]
]:
    """For each pixel of a resized line the two to blend, and the weight of the second.

    In float32, as PyTorch computes them, which shows in large pictures.
    """
    step, half = np.float32(given) / np.float32(wanted), np.float32(0.5)
    places = np.maximum((np.arange(wanted, dtype=np.float32) + half) * step - half, 0)
    first = places.astype(np.int64)
    return first, np.minimum(first + 1, given - 1), (places - first).astype(np.float32)


def _clip(size: int) -> View:
    return View(1, functools.partial(blended, size=size), (size, size), np.float32)


VIEWS = {
    "resnet": View(8, crop, (_CROP, _CROP)),
    "r2plus1d": View(8, square, (_SQUARE, _SQUARE)),
    "clip": _clip(224),
    "clip336": _clip(336),  # for ViT-L/14@336px
}
