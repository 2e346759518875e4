"""XLA's flags for the tests, found out once before anything of JAX is imported."""

import os
import subprocess
import sys

# Most of the tests' time is compilation, of what then runs for a moment. It is shorter with XLA's
# older code generator for CPUs (until JAX 0.10), and where a program is not split among threads.
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def with_quick_flags(given: str) -> str:
    """The flags of XLA_FLAGS and those of `QUICK` that it does not set and that XLA knows."""
    missing = [flag for flag in QUICK if flag.partition("=")[0] not in given]
    return " ".join([*given.split(), *known_to_xla(missing)])


def known_to_xla(flags: list[str]) -> list[str]:
    """Those of some flags that the installed JAX starts with.

    XLA ends a process over a flag that it does not know, and has no list of those that it knows.
    """
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    starts = []
    for flag in flags:
        environment = os.environ | {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
        starts.append(subprocess.Popen(command, env=environment, **quiet))
    return [flag for flag, start in zip(flags, starts, strict=True) if start.wait() == 0]
