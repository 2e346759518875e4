"""One published .npy file, read without trusting it.

A header can claim terabytes or name Python objects, so shape and type are checked
before anything is allocated, and nothing is ever unpickled.
"""

import io
import math
import os
import stat
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from avvp_jax.streams import Stream, pool_to_segments
from avvp_jax.task import NUM_CLASSES, SEGMENTS

# More than any .npy header of a plain array needs.
_LONGEST_HEADER = 4096
# Bytes of the widest real number NumPy knows.
_WIDEST_NUMBER = 16
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class DamagedFile(Exception):
    """What is wrong with a file, in a few words that can follow its name."""


def read_features(path: Path, stream: Stream) -> Float32[np.ndarray, "10 width"]:
    """One video's features of one stream, averaged to segments.

    The file holds [rows, width] as published, in any float type.

    Raises:
        DamagedFile: it does not, or it holds NaN, infinity or numbers beyond float32.
    """
    array = _read_array(path, (stream.rows, stream.width), "f", "floating point numbers")
    # Averages of finite numbers can leave float32 too, and NaN stays NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        pooled = pool_to_segments(stream, array)
    if not np.isfinite(pooled).all():
        raise DamagedFile("holds NaN, infinity or numbers beyond float32")
    return pooled


def read_pseudo_labels(path: Path) -> UInt8[np.ndarray, "10 25"]:
    """One video's segment pseudo labels, in any real type that holds only 0 and 1.

    Raises:
        DamagedFile: the file does not hold that.
    """
    array = _read_array(path, (SEGMENTS, NUM_CLASSES), "biuf", "numbers")
    if not np.isin(array, (0, 1)).all():
        raise DamagedFile("pseudo labels must be 0 or 1")
    return array.astype(np.uint8)


def read_numbers(
    path: Path, shape: tuple[int | None, ...], widest: int = 0
) -> Float[np.ndarray, "..."]:
    """A .npy file of finite numbers, float64.

    None in `shape` stands for any length up to `widest`.

    Raises:
        DamagedFile: the file does not hold that.
    """
    array = _read_array(path, shape, "iuf", "numbers", widest).astype(np.float64)
    if not np.isfinite(array).all():
        raise DamagedFile("holds NaN or infinity")
    return array


def _read_array(
    path: Path, shape: tuple[int | None, ...], kinds: str, meaning: str, widest: int = 0
) -> np.ndarray:
    """The array in a .npy file of this shape whose dtype is of one of these kinds."""
    numbers = math.prod(widest if length is None else length for length in shape)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFile("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a file")
        if status.st_size == 0:
            raise DamagedFile("is empty")
        if status.st_size > _LONGEST_HEADER + numbers * _WIDEST_NUMBER:
            raise DamagedFile(f"has {status.st_size} bytes, too many for shape {_shown(shape)}")
        content = path.read_bytes()
    except OSError as error:
        raise DamagedFile(f"cannot be read ({error.strerror})") from None

    found, order, dtype, start = _read_header(content)
    if dtype.hasobject:
        raise DamagedFile("holds pickled Python objects, which are never loaded")
    if dtype.kind not in kinds:
        raise DamagedFile(f"has type {str(dtype):.60}, not {meaning}")
    fits = len(found) == len(shape) and all(
        0 < length <= widest if wanted is None else length == wanted
        for length, wanted in zip(found, shape, strict=True)
    )
    if not fits:
        raise DamagedFile(f"has shape {str(list(found)):.60}, not {_shown(shape)}")
    expected = start + math.prod(found) * dtype.itemsize
    if len(content) != expected:
        raise DamagedFile(f"has {len(content)} bytes where its header promises {expected}")
    return np.frombuffer(content, dtype, offset=start).reshape(found, order=order)


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('width' if length is None else str(length) for length in shape)}]"


def _read_header(content: bytes) -> tuple[tuple[int, ...], str, np.dtype, int]:
    """Shape, memory order, dtype and the place where the numbers begin."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise DamagedFile("is not a .npy file") from None
    if version not in _HEADER_READERS:
        raise DamagedFile(f"has .npy version {version[0]}.{version[1]}; arrays have 1.0 or 2.0")
    try:
        shape, fortran, dtype = _HEADER_READERS[version](file, max_header_size=_LONGEST_HEADER)
    # NumPy's parser (ast, tokenize, dtype) answers damaged text with many kinds of exception.
    except Exception:
        raise DamagedFile("has a .npy header that cannot be read") from None
    return shape, "F" if fortran else "C", dtype, file.tell()
