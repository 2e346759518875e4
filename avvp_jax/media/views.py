"""What networks see of a video's frames: which ones, and how they are resized."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from avvp_jax.media.opening import library

Rgb = UInt8[np.ndarray, "height width 3"]
_RESIZED, _CROP, _SQUARE = 256, 224, 112


class View(NamedTuple):
    """How many frames a network sees of ten segments, and what becomes of each.

    Attributes:
      frames: for each segment.
      of: a frame as the network sees it.
      dark: height and width of a frame where there is no picture.
    """

    frames: int
    of: Callable[[Rgb], Rgb]
    dark: tuple[int, int]


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


def whole(picture: Rgb) -> Rgb:
    """A picture as it is, for CLIP, which resizes it itself."""
    return picture


VIEWS = {
    "resnet": View(8, crop, (_CROP, _CROP)),
    "r2plus1d": View(8, square, (_SQUARE, _SQUARE)),
    "clip": View(1, whole, (_CROP, _CROP)),
}
