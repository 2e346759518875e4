"""What can be known of the files of a folder before anything is made of them."""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.media.extent import measured, said
from avvp_jax.media.opening import MediaError, check_picture, check_sound, opened
from tfds_llp.own.clips import exact
from tfds_llp.own.files import files_in
from tfds_llp.own.reading import OwnData

_READERS = 4  # threads, which wait for the disk
_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Found:
    """The files of a folder.

    Attributes:
      videos: name -> path, of all videos.
      seconds: name -> how long it is, of videos that clips are cut from.
      unreadable: name -> why it cannot be used.
      same: names of videos whose files have the same content, those of equal content together.
      missing: clips that have neither a video nor features.
      unnamed: videos that no table names.
      odd: names of videos that no table can name, and why.
    """

    videos: Mapping[str, str]
    seconds: Mapping[str, float]
    unreadable: Mapping[str, str]
    same: Sequence[tuple[str, ...]]
    missing: Sequence[str]
    unnamed: Sequence[str]
    odd: Mapping[str, str]


def find(own: OwnData) -> Found:
    """Looks at the files of a folder: which there are, how long they are, and which are equal.

    Raises:
      UserError: the folder cannot be read, or the package that reads videos is missing.
    """
    files = files_in(own.folder)
    clips = own.clips.values()
    latest: dict[str, Fraction] = defaultdict(Fraction)
    for clip in clips:
        latest[clip.video] = max(latest[clip.video], clip.span[1] or Fraction(0))
    used = sorted(latest.keys() & files.videos.keys())
    seconds, unreadable = {}, {}
    with ThreadPoolExecutor(_READERS) as readers:
        lengths = readers.map(lambda name: _seconds(files.videos[name], latest[name]), used)
        for name, length in zip(used, lengths, strict=True):
            if isinstance(length, str):
                unreadable[name] = length
            else:
                seconds[name] = length
    return Found(
        files.videos,
        seconds,
        unreadable,
        _same({name: files.videos[name] for name in used}),
        [x.name for x in clips if x.video not in files.videos and x.name not in files.features],
        sorted(files.videos.keys() - latest.keys()),
        files.odd,
    )


def beyond_end(own: OwnData, found: Found) -> list[str]:
    """The clips that begin or end behind their video, each with how long that is."""
    slack = exact(own.task.seconds) / 2
    beyond = []
    for clip in own.clips.values():
        start, end = clip.span
        length = found.seconds.get(clip.video)
        if length is not None and end is not None and (start >= length or end > length + slack):
            beyond.append(f"{clip.name} (the video has {length:.1f} s)")
    return beyond


def refuse_beyond_end(own: OwnData, found: Found) -> None:
    """Checks that all clips are within their videos.

    Raises:
      UserError: some are not.
    """
    if beyond := beyond_end(own, found):
        raise UserError(
            f"{own.folder}: clips beyond the end of their video: {first_ten(beyond)}; correct "
            "their start and end"
        )


def _seconds(path: str, latest: Fraction) -> float | str:
    """How long a video is, or why it cannot be used.

    What it says is believed unless a clip, which ends at `latest`, would be beyond.
    """
    try:
        with opened(path) as file:
            check_picture(file)
            check_sound(file)
            seconds = said(file)
            return seconds if seconds and seconds >= latest else measured(file).seconds
    except MediaError as problem:
        return str(problem)
    except UserError:  # a package is missing
        raise
    except Exception as error:  # of a library, about what is in the file
        return f"{path}: cannot be read ({cause(error)})"


def _same(paths: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Names of files with the same content; most files need not be read for that."""
    by_size = _together(paths, lambda path: _size(path))
    groups = [
        group
        for names in by_size
        for group in _together({name: paths[name] for name in names}, _digest)
    ]
    return sorted(groups)


def _together(paths: Mapping[str, str], key) -> Iterable[tuple[str, ...]]:
    groups = defaultdict(list)
    for name, path in paths.items():
        if (value := key(path)) is not None:
            groups[value].append(name)
    return [tuple(sorted(names)) for names in groups.values() if len(names) > 1]


def _size(path: str) -> int | None:
    """The size of a regular file that is not empty; None of another."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size or None if stat.S_ISREG(status.st_mode) else None


def _digest(path: str) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError:
        return None
    return digest.digest()
