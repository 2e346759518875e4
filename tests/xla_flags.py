"""XLA's flags for the tests, found out once before anything of JAX is imported."""

import os
import subprocess
import sys
import tempfile

# Most of the tests' time is compilation, of what then runs for a moment. It is shorter with XLA's
# older code generator for CPUs (which JAX 0.11 no longer has), where a program is not split among
# threads, and without passes that pay in long loops and large arrays.
PASSES = ("simplify-while-loops", "while-loop-invariant-code-motion", "while-loop-constant-sinking")
PASSES += ("cpu-parallel-task-assigner", "reshape-mover")
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
QUICK += (f"--xla_disable_hlo_passes={','.join(PASSES)}",)
PATIENCE = 900  # seconds


def with_quick_flags(given: str) -> str:
    """What XLA_FLAGS says, and those flags of `QUICK` that it does not set and that XLA knows."""
    if given.strip() and not given.lstrip().startswith("-"):
        return given  # the name of a file of flags
    missing = [flag for flag in QUICK if flag.partition("=")[0] not in given]
    return " ".join(filter(None, [given, *known_to_xla(missing)]))


def known_to_xla(flags: list[str]) -> list[str]:
    """Those of some flags that the installed JAX starts with.

    XLA ends a process over a flag that it does not know, and has no list of those that it knows.
    """
    # The flags are for CPUs, and an accelerator may be in use.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:  # a process that is ended may leave its memory
        starts = [
            subprocess.Popen(command, env=environment | {"XLA_FLAGS": flag}, cwd=folder, **quiet)
            for flag in flags
        ]
        ends = [start.wait(PATIENCE) for start in starts]
    return [flag for flag, end in zip(flags, ends, strict=True) if end == 0]
