"""The one exception that means: the user can put this right; and warnings."""

import errno
import re
import sys

LONGEST = 3000  # signs of a message
_TEMPORARY = re.compile(
    r"\b(EMFILE|ENFILE|ENOMEM|EAGAIN|EACCES|EPERM|EIO|ESTALE)\b|can't start new thread"
    r"|Too many open files|Cannot allocate memory|Input/output error"
)


class UserError(ValueError):
    """Bad input, named in one line together with the way out.

    launch.py prints the message without a traceback and exits with code 2.
    """

    def __init__(self, message: str):
        line = one_line(message)
        # The beginning says what it is about, the end what to do.
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}")


def one_line(text: object) -> str:
    """Text without line breaks and without what drives a terminal, wherever it came from."""
    words = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in words)


def cause(error: Exception) -> str:
    """What another library's exception says, short, for the middle of a message."""
    said = error.strerror if isinstance(error, OSError) else None
    return _cut(one_line(said or error)) or type(error).__name__


def _cut(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def is_temporary(error: BaseException) -> bool:
    """Whether an exception says that this process lacks memory, threads, open files or rights now.

    Nothing is then known to be wrong with what was read.
    """
    return _lack(error) is not None


def _lack(error: BaseException | None) -> BaseException | None:
    """Of an exception and those that led to it, the first that speaks of such a lack."""
    found = None
    while error is not None:
        # A message of ours may name a folder of any name.
        said = "" if isinstance(error, UserError) else str(error)
        numbers = (errno.errorcode.get(getattr(error, "errno", None), ""), said)
        if isinstance(error, MemoryError) or any(map(_TEMPORARY.search, numbers)):
            found = error
        error = error.__cause__ or error.__context__
    return found


def unreadable_now(path: object, error: Exception) -> UserError:
    """What to raise where `error` is temporary: what is at the path may be whole."""
    return UserError(
        f"{path}: cannot be read now ({cause(_lack(error))}), and nothing was changed; give this "
        "process the memory, threads, open files or rights that it lacks, and start it again"
    )


def damaged_data(folder: object, reason: str, way_out: str) -> UserError:
    """What to raise where a prepared data set is not what was prepared."""
    return UserError(f"{folder}: the prepared data is damaged ({reason}); {way_out}")


def warn(message: str) -> None:
    """Tells the user in one line on stderr what a run has put right by itself."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def first_ten(names: list[str]) -> str:
    """Up to ten of `names` for an error message, and how many there are in all."""
    listed = ", ".join(_cut(str(name)) for name in names[:10])
    return listed if len(names) <= 10 else f"{listed}, ... ({len(names)} in all)"
