"""How the tests and the processes that they start compile; imported before anything is compiled."""

import mmap
import os
import pathlib
import tempfile

import jax
import jaxlib


def known_to_xla(flag: str) -> bool:
    """Whether jaxlib's libraries have a flag."""
    for path in pathlib.Path(jaxlib.__file__).parent.glob("*.so"):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text.find(flag.encode()) >= 0:
                return True
    return False


def many_maps() -> bool:
    """Whether this process nears the number of memory maps that Linux allows, 65,530."""
    maps = pathlib.Path("/proc/self/maps")
    return not maps.exists() or maps.read_text().count("\n") > 30_000


# Most of the tests' time is compilation. XLA's older code generator for CPUs takes half as long as
# the one that users get. With AVVP_AS_USERS_COMPILE=1 the tests take the latter, as CI does for
# golden numbers. XLA ends a process over a flag that it does not know, so its name is looked up.
FLAG = "xla_cpu_use_fusion_emitters"
if "AVVP_AS_USERS_COMPILE" not in os.environ and known_to_xla(FLAG):
    given = os.environ.get("XLA_FLAGS", "")
    if FLAG not in given:
        os.environ["XLA_FLAGS"] = f"{given} --{FLAG}=false".strip()

# Programs that launch.py compiles serve all its processes of this test run, and none of another.
# The tests' own processes read them, but write none (however long a compilation takes): writing
# hundreds of them has crashed XLA.
if "AVVP_TESTS_CACHE" not in os.environ:
    _FOLDER = tempfile.TemporaryDirectory()
    os.environ["AVVP_TESTS_CACHE"] = _FOLDER.name
CACHE = os.environ["AVVP_TESTS_CACHE"]
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", float("inf"))
