"""The software that a run uses: versions of packages, the commit of this code, its command."""

import importlib.metadata
import os
import platform
import subprocess
import sys


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    packages = (
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "tensorflow-datasets",
        "numpy",
    )
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def commit() -> str | None:
    """The commit of this code, with "+changes" if files differ from it; None outside git."""
    git = ["git", "-C", os.path.dirname(os.path.abspath(__file__))]
    try:
        run = {"capture_output": True, "text": True, "check": True, "timeout": 10}
        # An installed copy may be inside another repository: this file must be tracked.
        subprocess.run([*git, "ls-files", "--error-unmatch", os.path.basename(__file__)], **run)
        head = subprocess.run([*git, "rev-parse", "HEAD"], **run).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], **run).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if dirty else head


def command() -> list[str]:
    """The words of launch.py's command line, with those of its flag files; [] if it is not run.

    Without those that differ between the processes of a run.
    """
    if os.path.basename(sys.argv[0]) != "launch.py":
        return []
    own = ("process_id", "num_processes", "coordinator")
    return [word for word in sys.argv if word.lstrip("-").partition("=")[0] not in own]
