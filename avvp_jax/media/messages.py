"""How a process that decodes sends windows to the one that asked: JSON and the bytes of arrays.

Whoever decodes files of unknown origin may be taken over by one of them. So what it sends is
nothing that could run, and its sizes are checked before anything is allocated.
"""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from avvp_jax.media.windows import Window

_LONGEST_HEAD = 1 << 16
_LARGEST = 1 << 31  # bytes of the arrays of a window
_KINDS = ("uint8", "int16", "float32")
# Names of arrays: those of pictures are the view's after this word.
_PICTURES, _SOUNDS = "picture ", ("sound", "sound_48k")


class Garbled(Exception):
    """What came is no message."""


def write(file: BinaryIO, window: Window | None, error: str | None = None) -> None:
    """Writes a window; without one the end of a file, with an error if there was one."""
    head: dict[str, Any] = {"error": error}
    arrays: list[tuple[str, np.ndarray]] = []
    if window is not None:
        arrays = [(_PICTURES + view, frames) for view, frames in window.pictures.items()]
        sounds = [(name, getattr(window, name)) for name in _SOUNDS]
        arrays += [(name, sound) for name, sound in sounds if sound is not None]
        head = {"start": window.start, "seconds": window.seconds, "missing": window.missing}
        head |= {"found": window.found, "segments": window.segments}
        head["arrays"] = [[name, array.dtype.name, array.shape] for name, array in arrays]
    text = json.dumps(head).encode()
    file.write(len(text).to_bytes(4, "big") + text)
    for _, array in arrays:
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    file.flush()


def read(take: Callable[[int], bytearray]) -> Window | str | None:
    """A window, or None at the end of a file, or the error that ended it.

    Args:
      take: reads so many bytes.

    Raises:
      Garbled: what came is no message.
    """
    length = int.from_bytes(take(4), "big")
    if length > _LONGEST_HEAD:
        raise Garbled
    text = take(length)
    try:
        head = json.loads(text)
        if "arrays" not in head:
            return None if head["error"] is None else str(head["error"])
        shapes = [(str(name), *_checked(kind, shape)) for name, kind, shape in head["arrays"]]
        if sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in shapes) > _LARGEST:
            raise ValueError
        start, seconds = float(head["start"]), float(head["seconds"])
        missing = tuple(map(str, head["missing"]))
        picture, heard = map(float, head["found"])
        segments = None if head["segments"] is None else int(head["segments"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Garbled from None
    arrays = dict(_arrays(shapes, take))
    sound, sound_48k = (arrays.pop(name, None) for name in _SOUNDS)
    pictures = {name.removeprefix(_PICTURES): frames for name, frames in arrays.items()}
    found = picture, heard
    return Window(start, seconds, pictures, sound, missing, found, sound_48k, segments)


def _checked(kind: str, shape: list) -> tuple[np.dtype, tuple[int, ...]]:
    whole = all(type(side) is int and side >= 0 for side in shape)
    if kind not in _KINDS or not whole or len(shape) > 4:
        raise ValueError
    return np.dtype(kind), tuple(shape)


def _arrays(shapes: list, take: Callable[[int], bytearray]) -> Iterator[tuple]:
    for name, dtype, shape in shapes:
        size = math.prod(shape) * dtype.itemsize
        yield name, np.frombuffer(take(size), dtype).reshape(shape)
