"""UserError, the exception for mistakes that the user can put right, and warnings."""

import errno
import re
import sys
from collections.abc import Sequence

LONGEST = 3000  # characters of a message
_TEMPORARY = re.compile(
    r"\b(EMFILE|ENFILE|ENOMEM|EAGAIN|EACCES|EPERM|EIO|ESTALE)\b|can't start new thread"
    r"|Too many open files|Cannot allocate memory|Input/output error"
)


class UserError(ValueError):
    """Bad input. The message says in one line what is wrong and what to do.

    launch.py prints the message without a traceback and exits with code 2.
    """

    def __init__(self, message: str):
        line = one_line(message)
        # A message begins with what is wrong and ends with what to do: keep both.
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}")


def one_line(text: object) -> str:
    """Text as one line without control characters, which could control the terminal."""
    words = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in words)


def cause(error: BaseException) -> str:
    """A short form of another library's exception, to stand within a message."""
    said = error.strerror if isinstance(error, OSError) else None
    return _shorten(one_line(said or error)) or type(error).__name__


def _shorten(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def is_temporary(error: BaseException) -> bool:
    """Whether an exception comes from a lack of memory, threads, open files or rights.

    Then what was read is not known to be damaged.
    """
    return _lack(error) is not None


def _lack(error: BaseException | None) -> BaseException | None:
    """The first exception in a chain of causes that is_temporary describes; None without one."""
    found = None
    while error is not None:
        # A UserError may name a folder, whose name could match by chance.
        said = "" if isinstance(error, UserError) else str(error)
        numbers = (errno.errorcode.get(getattr(error, "errno", None), ""), said)
        if isinstance(error, MemoryError) or any(map(_TEMPORARY.search, numbers)):
            found = error
        error = error.__cause__ or error.__context__
    return found


def unreadable_now(path: object, error: Exception) -> UserError:
    """The error to raise if `error` is temporary, so that the path's content may be intact."""
    return UserError(
        f"{path}: cannot be read now ({cause(_lack(error))}), and nothing was changed; give this "
        "process the memory, threads, open files or rights that it lacks, and start it again"
    )


def damaged_data(folder: object, reason: str, way_out: str) -> UserError:
    """The error to raise if a prepared data set has changed since it was prepared."""
    return UserError(f"{folder}: the prepared data is damaged ({reason}); {way_out}")


def warn(message: str) -> None:
    """Prints a warning on stderr, in one line, for a problem that needs no action."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def first_ten(names: Sequence[object]) -> str:
    """Up to ten of `names`, and their number if there are more, for an error message."""
    listed = ", ".join(_shorten(str(name), 260) for name in names[:10])
    return listed if len(names) <= 10 else f"{listed}, ... ({len(names)} in all)"
