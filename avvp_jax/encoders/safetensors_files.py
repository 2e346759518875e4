"""Reads .safetensors by the library, after checks of what that lets pass or names badly.

A file is the length of a header, the header (JSON: dtype, shape and place of each tensor), and the
numbers. The library sees to places: it refuses overlaps, holes, and sizes that do not agree.
"""

import json
import os
import struct

import ml_dtypes  # noqa: F401  makes bfloat16 a name that NumPy knows
import numpy as np

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.reading import DamagedFile, check_file

INSTALL = 'pip install "safetensors>=0.4.3"'
_LONGEST_HEADER = 16 << 20  # bytes, far more than names and sizes need
_METADATA = "__metadata__"
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
_MOST_AXES = 32


def read_safetensors(path: str, way_out: str) -> dict[str, np.ndarray]:
    """The tensors of a file, by name, as they are there (bfloat16 and float16 too).

    Args:
      way_out: ends the message of an error; says what to do.

    Raises:
      UserError: the file is missing or damaged, or the library is not there.
    """
    try:
        from safetensors import safe_open
    except ImportError:
        raise UserError(f"{path}: reading it needs the package safetensors: {INSTALL}") from None
    try:
        check_file(path)
        _check_header(path)
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit in memory; {way_out}") from None
    # The library raises an exception of its own, and NumPy's on what is odd.
    except Exception as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({cause(error)}); {way_out}"
        ) from None


def _check_header(path: str) -> None:
    """Checks names, dtypes and lengths that a file's header claims.

    Raises:
      DamagedFile: they are not those of tensors that NumPy can hold, or the header is none.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        beginning = file.read(8)
        if len(beginning) < 8:
            raise DamagedFile("is too short for a safetensors file; it is not whole")
        length = struct.unpack("<Q", beginning)[0]
        if length > _LONGEST_HEADER:
            raise DamagedFile(f"is no safetensors file: its header would have {length} bytes")
        if length > size - 8:
            raise DamagedFile(f"ends within its header of {length} bytes; it is not whole")
        header = file.read(length)
    try:
        tensors = json.loads(header.decode(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"has a header that is no JSON ({cause(error)})") from None
    if not isinstance(tensors, dict):
        raise DamagedFile("has a header without names")
    tensors.pop(_METADATA, None)
    if not tensors:
        raise DamagedFile("holds no tensors")
    ends = [_check_tensor(name, about) for name, about in tensors.items()]
    if 8 + length + max(ends) > size:
        raise DamagedFile(f"ends {8 + length + max(ends) - size} bytes early; it is not whole")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DamagedFile(f"has {twice:.80} twice in its header")
    return found


def _check_tensor(name: str, about: object) -> int:
    """Checks what a header says of a tensor; gives where it ends among the numbers, in bytes."""
    about = about if isinstance(about, dict) else {}
    dtype, shape, place = (about.get(key) for key in ("dtype", "shape", "data_offsets"))
    if dtype not in _DTYPES:
        raise DamagedFile(f"has {name:.80} as {dtype!s:.20}, which is not read here")
    if not _counts(shape) or len(shape) > _MOST_AXES:
        raise DamagedFile(f"has {name:.80} with shape {shape!s:.60}, which no array has")
    if not _counts(place) or len(place) != 2 or place[0] > place[1]:
        raise DamagedFile(f"has {name:.80} at {place!s:.60}, which is no place")
    return place[1]


def _counts(values: object) -> bool:
    """Whether this is a list of counts."""
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)
