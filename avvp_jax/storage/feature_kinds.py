"""Decides which arrays are a video's features of a stream, and says what the others are."""

import math
from collections.abc import Sequence

import numpy as np

from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import STREAMS, Stream
from avvp_jax.task import Task

_BEFORE_AVERAGE = "maps before the average over the picture; average over their height and width"
_PICTURES = "pictures; extract features of them"
_FLAT_MAPS = "maps before VGGish's last layers; take the output of its last layer"
_CLAP_MAP = "CLAP's map with an axis for its halves; reshape it to [64, 768], halves first"
_TOKENS = "all tokens of each frame; take the projected image embedding"
# The last axes of other outputs, axes of length 1 left out -> what they are, and the way out.
_KINDS: dict[str, dict[tuple[int, ...], str]] = {
    "vggish": {
        (6, 4, 512): _FLAT_MAPS,
        (512, 6, 4): _FLAT_MAPS,
        (12288,): _FLAT_MAPS,
        (4096,): "the output of VGGish's second last layer; take that of its last layer",
        (96, 64): "spectrograms; run VGGish on them",
    },
    "resnet152": {
        (7, 7, 2048): _BEFORE_AVERAGE,
        (2048, 7, 7): _BEFORE_AVERAGE,
        (1000,): "scores of ImageNet's classes; take the 2048 numbers before the last layer",
        (512,): "features of a shallower network, as ResNet-18; extract them with ResNet-152",
        (224, 224, 3): _PICTURES,
        (3, 224, 224): _PICTURES,
    },
    "r2plus1d": {
        (512, 2, 7, 7): _BEFORE_AVERAGE,
        (2, 7, 7, 512): _BEFORE_AVERAGE,
        (512, 7, 7): _BEFORE_AVERAGE,
        (7, 7, 512): _BEFORE_AVERAGE,
        (512, 14, 14): _BEFORE_AVERAGE,
        (512, 4, 4): _BEFORE_AVERAGE,
        (400,): "scores of Kinetics' classes; take the 512 numbers before the last layer",
        (112, 112, 3): _PICTURES,
        (112, 112): _PICTURES,
    },
    "clip": {
        (
            512,
        ): "of a smaller CLIP, as ViT-B/32; take ViT-L/14, or declare a data set of this width",
        (640,): "of another CLIP, as RN50x4; take ViT-L/14, or declare a data set of this width",
        (1024,): "of RN50, or of ViT-L/14 before its projection; take the projected embedding",
        (50, 768): _TOKENS,
        (197, 768): _TOKENS,
        (257, 768): _TOKENS,
        (257, 1024): _TOKENS,
        (577, 1024): _TOKENS,
        (224, 224, 3): _PICTURES,
        (3, 224, 224): _PICTURES,
    },
    "clap": {
        (512,): "CLAP's embeddings after its projection; take the map before its last pooling",
        (1024,): "of another CLAP; take the map [64, 768] of the fusion model",
        (527,): "scores of AudioSet's classes; take the map before CLAP's last pooling",
        (2, 32, 768): _CLAP_MAP,
        (768, 2, 32): _CLAP_MAP,
        (32, 2, 768): _CLAP_MAP,
        (10, 64, 768): "maps of single segments; take one map of the whole clip",
    },
}
_TYPES = {
    "iu": "whole numbers, as after rounding; extract again as floating point numbers",
    "b": "labels or a mask perhaps; extract features as floating point numbers",
    "c": "complex numbers, as of a spectrum; extract features as floating point numbers",
    "SU": "text; save the numbers themselves",
    "O": "Python objects; save a plain array of numbers",
    "mM": "times; save features as floating point numbers",
}


def rows_of(stream: Stream, task: Task, shape: Sequence[int], dtype: np.dtype) -> tuple[int, int]:
    """The rows and the width of one video's features.

    They are [rows, width] as published or [segments, width] already pooled, in any float type;
    further axes have length 1, as networks leave them.

    Args:
      shape, dtype: of an array.

    Raises:
      DamagedFile: the array is something else; says what it is, if that is known.
    """
    found = _usable(stream, task, shape)
    if found is None:
        wanted = f"[{stream.rows(task)}, {stream.width}]"
        what = _what_it_is(stream, task, tuple(shape))
        raise DamagedFile(f"has shape {str(list(shape)):.60}, not {wanted}{what}")
    if dtype.kind != "f":
        raise DamagedFile(
            f"has type {str(dtype):.60}, not floating point numbers{_type_meaning(stream, dtype)}"
        )
    return found


def lengths_of(stream: Stream, task: Task, shape: Sequence[int]) -> tuple[int, ...]:
    """How many segments a clip can have whose features have this shape.

    Args:
      shape: of an array with the rows of up to as many segments as the task has, or of rows that
        are already averaged to segments.

    Returns:
      Numbers of segments, those of rows as published first. Of a map, all up to the task's: its
      shape does not say it.

    Raises:
      DamagedFile: see rows_of.
    """
    everything, each = range(1, task.segments + 1), stream.rows(task) // task.segments
    if stream.map_rows and fits(stream, task, shape):
        return tuple(everything)
    rows = _rows_and_width(stream, shape)
    if rows is None or stream.map_rows:
        rows_of(stream, task, shape, np.dtype(np.float32))  # says what it is
        return (task.segments,)
    found = [rows // each] * (rows % each == 0) + [rows] * (not stream.keeps_frames)
    found = [number for number in dict.fromkeys(found) if number in everything]
    if not found:
        rows_of(stream, task, shape, np.dtype(np.float32))
    return tuple(found)


def _rows_and_width(stream: Stream, shape: Sequence[int]) -> int | None:
    """The rows of an array that is as wide as a stream; None of another one."""
    if len(shape) == 2 and shape[1] == stream.width:
        return shape[0]
    plain = _without_ones(shape)
    if plain == (stream.width,) and len(shape) > 1:
        return 1
    return plain[0] if len(plain) == 2 and plain[1] == stream.width else None


def fits(stream: Stream, task: Task, shape: Sequence[int]) -> bool:
    """Whether an array of this shape can be one video's features."""
    return _usable(stream, task, shape) is not None


def _usable(stream: Stream, task: Task, shape: Sequence[int]) -> tuple[int, int] | None:
    wanted = {(stream.rows(task), stream.width), (task.segments, stream.segment_width(task))}
    for each in (tuple(shape), _without_ones(shape)):
        if each in wanted:
            return each
    return None


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def _type_meaning(stream: Stream, dtype: np.dtype) -> str:
    if stream.name == "vggish" and dtype.kind in "iu":
        return ": quantised by VGGish's PCA step; extract without quantisation"
    if dtype.kind == "V" and dtype.itemsize == 2:
        return ": bfloat16 perhaps; save them as float32"
    return "".join(f": {meaning}" for kinds, meaning in _TYPES.items() if dtype.kind in kinds)


def _what_it_is(stream: Stream, task: Task, shape: tuple[int, ...]) -> str:
    """What an array of another shape is, with a colon before; empty if that is not known."""
    plain, rows, width = _without_ones(shape), stream.rows(task), stream.width
    of_one = plain[-2:]
    if 0 in shape:
        return ": it holds nothing; extract it again"
    if _usable(stream, task, of_one[::-1]):
        return ": transposed; turn it to rows of a video, one below the other"
    if _usable(STREAMS[stream.name], task, shape):
        return f": they are as wide as published, where {width} numbers are declared"
    if stream.keeps_frames and of_one == (task.segments, width):
        return ": averages over the frames of each segment; this stream needs the frames themselves"
    kinds = _KINDS.get(stream.encoded, {})
    for end in sorted(kinds, key=len, reverse=True):
        if plain[-len(end) :] == end and end != (width,):
            return f": {kinds[end]}"
    if len(plain) > 2 and plain[-1] == width and math.prod(plain[:-1]) == rows:
        return f": the rows have several axes; reshape them to [{rows}, {width}]"
    for other in STREAMS.values():
        if other.encoded != stream.encoded and _usable(other, task, shape):
            return f": those are features of {other.folder}, or like them; exchange the files"
    if _usable(stream, task, plain[1:]):
        return f": {plain[0]} videos in one; keep each in a file of its own"
    if plain in ((width,), (rows * width,)):
        meaning = "one row for the whole clip" if plain == (width,) else "flattened"
        return f": {meaning}; keep a row for each time"
    if len(of_one) == 2 and of_one[1] == width:
        return _other_rows(stream, task, of_one[0])
    if len(plain) == 2 and plain[0] in (rows, task.segments):
        return f": {plain[1]} numbers in a row, of another network; README.md has other widths"
    return ""


def _other_rows(stream: Stream, task: Task, found: int) -> str:
    """What a number of rows means that is not the stream's."""
    rows = stream.rows(task)
    if stream.map_rows:
        return f": {found} rows instead of {rows}; take CLAP's whole map, of one clip"
    each = max(1, round(stream.per_second * task.seconds))
    of = f" ({each} for each segment)"
    if found % rows == 0:
        return f": {found // rows} times as many rows{of}; extract fewer, or average them"
    return (
        f": {found} rows instead of {rows}{of}; bring the clip to {task.duration:g} seconds and "
        "extract again"
    )
