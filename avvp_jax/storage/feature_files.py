"""Reads published .npy files of features or labels without trusting them.

Shape and type are checked before anything is computed; storage/reading.py does the other checks.
"""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from avvp_jax.storage.feature_kinds import fits, lengths_of, rows_of
from avvp_jax.storage.reading import (
    LONGEST_HEADER,
    DamagedFile,
    TooLarge,
    header_of,
    parse_npy,
    read_bytes,
)
from avvp_jax.streams import Stream, pool_to_segments
from avvp_jax.task import Task

# Bytes of NumPy's largest real type.
_WIDEST_NUMBER = 16
# The largest number of a video's features never exceeds this, and is never below its inverse,
# unless all are 0.
LARGEST = 1e30


def read_features(path: Path, stream: Stream, task: Task) -> Float[np.ndarray, "segments _"]:
    """One video's features of one stream, averaged to segments, in the stream's dtype.

    Raises:
        DamagedFile: the file is damaged, or holds something else (see rows_of and segments_of).
    """
    largest = max(stream.rows(task), task.segments) * stream.width
    try:
        array = parse_npy(read_bytes(path, LONGEST_HEADER + largest * _WIDEST_NUMBER))
    except TooLarge as problem:
        if header := header_of(problem.beginning):
            rows_of(stream, task, *header)
        raise
    shape = rows_of(stream, task, array.shape, array.dtype)
    return segments_of(stream, task, array.reshape(shape))


def read_clip(
    paths: Mapping[str, Path], streams: Sequence[Stream], task: Task, likely: int | None = None
) -> tuple[int, dict[str, Float[np.ndarray, "segments _"]]]:
    """The features of a clip that may have fewer segments than the task.

    Args:
        paths: stream -> its file.
        streams: all of them agree on the number of segments.
        task: says how many there are at most.
        likely: how many there should be; decides where files leave open whether their rows are
            already averaged.

    Returns:
        The number of segments, and by stream the features with zeros behind them.

    Raises:
        DamagedFile: a file is damaged, holds something else, or does not agree with another; the
            message begins with the name of the file.
    """
    arrays, possible = {}, {}
    for stream in streams:
        path, largest = paths[stream.name], max(stream.rows(task), task.segments) * stream.width
        with _naming(stream, path):
            array = parse_npy(read_bytes(path, LONGEST_HEADER + largest * _WIDEST_NUMBER))
            possible[stream.name] = lengths_of(stream, task, array.shape)
            arrays[stream.name] = array
    segments = _common(streams, paths, possible, likely)
    short, features = dataclasses.replace(task, segments=segments), {}
    for stream in streams:
        array = arrays[stream.name]
        of = task if stream.map_rows else short
        with _naming(stream, paths[stream.name]):
            rows = array.reshape(rows_of(stream, of, array.shape, array.dtype))
            made = segments_of(stream, of, rows)[:segments]
        features[stream.name] = np.pad(made, [(0, task.segments - segments), (0, 0)])
    return segments, features


def _common(
    streams: Sequence[Stream],
    paths: Mapping[str, Path],
    possible: Mapping[str, Sequence[int]],
    likely: int | None,
) -> int:
    """The number of segments that all files of a clip can have."""
    common = set.intersection(*map(set, possible.values()))
    if likely in common:
        return likely
    telling = [stream for stream in streams if not stream.map_rows] or streams
    for number in possible[telling[0].name]:
        if number in common:
            return number
    first, other = next(
        (a, b)
        for a, b in itertools.combinations(telling, 2)
        if not set(possible[a.name]) & set(possible[b.name])
    )
    told = [
        f"{x.folder}/{paths[x.name].name} for {' or '.join(map(str, possible[x.name]))} segments"
        for x in (first, other)
    ]
    raise DamagedFile(
        f"{told[0]} and {told[1]}: a clip's files must have the same; extract it again"
    )


@contextlib.contextmanager
def _naming(stream: Stream, path: Path) -> Iterator[None]:
    """Puts the name of a file before what is wrong with it."""
    try:
        yield
    except DamagedFile as problem:
        raise DamagedFile(f"{stream.folder}/{path.name} {problem}") from None


def segments_of(
    stream: Stream, task: Task, features: Shaped[np.ndarray, "*videos rows width"]
) -> Float[np.ndarray, "*videos segments _"]:
    """Features averaged to segments, in the stream's dtype, after a look at the numbers.

    Args:
        features: of one video or many, in any float type, as pool_to_segments takes them.

    Raises:
        DamagedFile: they are NaN, infinite or beyond the dtype, or no feature has them.
    """
    # Checked after pooling: an average of finite numbers can exceed float32, and NaN stays NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        pooled = pool_to_segments(stream, task, features)
    if not np.isfinite(pooled).all():
        raise DamagedFile("holds NaN, infinity or numbers beyond float32")
    largest = np.abs(pooled).max(axis=(-2, -1))
    if ((largest > LARGEST) | (largest > 0) & (largest < 1 / LARGEST)).any():
        raise DamagedFile("holds numbers that no feature has; their bytes may be in another order")
    if (largest > np.finfo(stream.dtype).max).any():
        raise DamagedFile(
            f"holds numbers beyond {stream.dtype}; keep frames as float32 (data.frames_dtype)"
        )
    return pooled.astype(stream.dtype, copy=False)


def videos_of(
    stream: Stream, task: Task, array: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, "videos segments _"]:
    """An array of one video's features, or of many along its first axis, averaged to segments.

    Raises:
        DamagedFile: it holds something else; of one video all that read_features takes is taken.
    """
    shape, videos = array.shape, 1
    if not fits(stream, task, shape) and fits(stream, task, shape[1:]):
        shape, videos = shape[1:], len(array)
    shape = rows_of(stream, task, shape, array.dtype)
    return segments_of(stream, task, array.reshape(videos, *shape))


def read_pseudo_labels(
    path: Path, task: Task, segments: int | None = None
) -> UInt8[np.ndarray, "segments classes"]:
    """One video's segment pseudo labels, in any real type that holds only 0 and 1.

    Args:
        segments: of a clip with fewer than the task, behind which there are zeros.

    Raises:
        DamagedFile: the file does not hold that.
    """
    segments = segments or task.segments
    array = _read_array(path, (segments, len(task.classes)), "biuf", "numbers")
    array = np.pad(array, [(0, task.segments - segments), (0, 0)])
    if not np.isin(array, (0, 1)).all():
        raise DamagedFile("pseudo labels must be 0 or 1")
    return array.astype(np.uint8)


def read_numbers(
    path: Path, shape: tuple[int | None, ...], widest: int = 0
) -> Float[np.ndarray, "..."]:
    """The finite numbers in a .npy file, as float64.

    Args:
        shape: the expected shape; None stands for any length from 1 to `widest`.

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
    """The array in a .npy file, checked to have this shape and one of these kinds of dtype."""
    numbers = math.prod(widest if length is None else length for length in shape)
    array = parse_npy(read_bytes(path, LONGEST_HEADER + numbers * _WIDEST_NUMBER))
    if array.dtype.kind not in kinds:
        raise DamagedFile(f"has type {str(array.dtype):.60}, not {meaning}")
    fits = array.ndim == len(shape) and all(
        0 < length <= widest if wanted is None else length == wanted
        for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise DamagedFile(f"has shape {str(list(array.shape)):.60}, not {_shown(shape)}")
    return array


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('width' if length is None else str(length) for length in shape)}]"
