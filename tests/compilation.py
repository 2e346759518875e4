"""How the tests and the processes that they start compile; imported before anything is compiled."""

import functools
import importlib
import mmap
import os
import pathlib

import jax
import jaxlib
import pytest


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


def compiled_anew(patch: pytest.MonkeyPatch, module: str, name: str) -> None:
    """While `patch` holds, a function that keeps compiled programs keeps others.

    For tests that replace what is compiled into them.
    """
    kept = getattr(importlib.import_module(module), name)
    patch.setattr(f"{module}.{name}", functools.cache(kept.__wrapped__))


# Most of the tests' time is compilation, of what then runs for a moment. It takes a third of the
# time without most of XLA's optimizations, with its older code generator for CPUs, and where it
# does not split a program among threads. XLA ends a process over a flag that it does not know, so
# names are looked up. With AVVP_AS_USERS_COMPILE=1 the tests compile as users do.
QUICK = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
# Programs that take long to compile serve all processes of this test run, and none of another.
# Only those: hundreds of programs have crashed a process that wrote them.
SETTINGS = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 1.0}
if "AVVP_TESTS_CACHE" in os.environ:  # see conftest.py
    SETTINGS["JAX_COMPILATION_CACHE_DIR"] = os.environ["AVVP_TESTS_CACHE"]
if "AVVP_AS_USERS_COMPILE" not in os.environ:
    SETTINGS["JAX_DISABLE_MOST_OPTIMIZATIONS"] = True
    for flag, value in QUICK.items():
        given = os.environ.get("XLA_FLAGS", "")
        if flag not in given and known_to_xla(flag):
            os.environ["XLA_FLAGS"] = f"{given} --{flag}={value}".strip()
for name, value in SETTINGS.items():
    os.environ[name] = str(value)  # of processes that the tests start
    jax.config.update(name.lower(), value)
