"""What a program prints, which must never end it: what a run is for are its files.

Whoever reads may be gone (`| head -1`, a lost terminal), the disk of a log full, or a stream
closed from the start (`>&-`). Then what is printed is lost, and all else goes on.
"""

import contextlib
import io
import os
import select
import sys
from typing import TextIO

OUT, ERR = 1, 2  # descriptors


def protect() -> None:
    """Makes `print` and all else that writes to stdout and stderr never fail in this process.

    Streams that somebody has put in their place, as notebooks do, stay as they are.
    """
    # A file opened later would get the number of a closed stream, and what is printed into it.
    for number in (0, OUT, ERR):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number in (("stdout", OUT), ("stderr", ERR)):
        given = getattr(sys, name)
        if given is None:
            stream = writer(os.open(os.devnull, os.O_WRONLY))
        elif given is getattr(sys, f"__{name}__"):
            with contextlib.suppress(OSError, ValueError):
                given.flush()
            lines = given.line_buffering or given.write_through
            stream = writer(number, lines, given.encoding)
        else:
            continue
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def writer(number: int, lines: bool = True, encoding: str = "utf-8") -> TextIO:
    """A stream on a descriptor, to which writing never fails.

    Args:
      number: the descriptor; the stream does not close it.
      lines: whether each line is written at once.
      encoding: what it lacks is written as an escape.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(number, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=lines,
    )


class _Unfailing(io.FileIO):
    """A descriptor that takes everything: what cannot be written is lost."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        with contextlib.suppress(OSError):
            while rest:
                written = super().write(rest)
                if written is None:  # another program has made it non-blocking, and it is full
                    select.select([], [self.fileno()], [])
                else:
                    rest = rest[written:]
        return size
