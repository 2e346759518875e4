"""Parts of a video as clips of their own, which may be shorter than a task's."""

import dataclasses
import os
from fractions import Fraction
from typing import NamedTuple

from avvp_jax.media.opening import MediaError
from avvp_jax.media.windows import Wanted, Window, extent_of, windows, windows_at


class Part(NamedTuple):
    """A part of a file.

    Attributes:
      path: of the file.
      start, end: in seconds; None for the beginning of the file, and for its end.
    """

    path: str
    start: float | None = None
    end: float | None = None


def clip(path: str | os.PathLike, wanted: Wanted, part: Part) -> Window:
    """A part of a video as a clip of its own, with as many segments as it lasts.

    One that is a whole file is read as `windows` does. Of a part longer than the task, the first
    window is read.

    Raises:
      MediaError: the file cannot be used, or ends before the part begins.
    """
    extent = extent_of(path, wanted)
    start = Fraction(str(part.start or 0))
    ends = extent.seconds if part.end is None else min(part.end, extent.seconds)
    if ends <= start:
        raise MediaError(
            path, f"ends after {extent.seconds:.2f} s; a clip of it begins at {float(start):g} s"
        )
    count = wanted.task.segments_in(ends - float(start))
    short = dataclasses.replace(wanted.task, segments=count)
    wanted = dataclasses.replace(wanted, task=short, hop=None, most=1)
    if part.end is None and not start:
        (made,) = windows(path, wanted)
    else:
        (made,) = windows_at(path, wanted, extent, [start])
        found = (min(max(0.0, x - float(start)), ends - float(start)) for x in made.found)
        made = dataclasses.replace(made, found=tuple(found))
    return dataclasses.replace(made, segments=count)
