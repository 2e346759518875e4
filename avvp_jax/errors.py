"""The one exception that means: the user can put this right; and warnings."""

import sys


class UserError(ValueError):
    """Bad input, named in one line together with the way out.

    launch.py prints the message without a traceback and exits with code 2.
    """


def warn(message: str) -> None:
    """Tells the user in one line on stderr what a run has put right by itself."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def first_ten(names: list[str]) -> str:
    """Up to ten of `names` for an error message, and how many there are in all."""
    listed = ", ".join(str(name) for name in names[:10])
    return listed if len(names) <= 10 else f"{listed}, ... ({len(names)} in all)"
