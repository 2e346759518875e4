"""How the tests and the processes that they start compile; imported before anything is compiled."""

import functools
import importlib
import os
import pathlib

import jax
import pytest

# Bytes. Compiled programs of whole networks take megabytes each, and every core has a process.
MOST_MEMORY = 5 * 2**29
MOST_MAPS = 30_000  # Linux allows a process 65,530


def many_programs() -> bool:
    """Whether this process keeps so many compiled programs that it has to let go of them."""
    place = pathlib.Path("/proc/self")
    if not place.exists():
        return True
    resident = int((place / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident > MOST_MEMORY or (place / "maps").read_text().count("\n") > MOST_MAPS


def compiled_anew(patch: pytest.MonkeyPatch, module: str, name: str) -> None:
    """While `patch` holds, a function that keeps compiled programs keeps others.

    For tests that replace what is compiled into them.
    """
    kept = getattr(importlib.import_module(module), name)
    patch.setattr(f"{module}.{name}", functools.cache(kept.__wrapped__))


# Compilation takes a third of the time without most of XLA's optimizations and with the flags of
# xla_flags.py. With AVVP_AS_USERS_COMPILE=1 the tests compile as users do. Programs that take long
# to compile serve all processes of this test run, and none of another. Only those: hundreds of
# programs have crashed a process that wrote them.
SETTINGS = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 1.0}
if "AVVP_TESTS_CACHE" in os.environ:  # see conftest.py
    SETTINGS["JAX_COMPILATION_CACHE_DIR"] = os.environ["AVVP_TESTS_CACHE"]
if "AVVP_AS_USERS_COMPILE" not in os.environ:
    SETTINGS["JAX_DISABLE_MOST_OPTIMIZATIONS"] = True
for name, value in SETTINGS.items():
    os.environ[name] = str(value)  # of processes that the tests start
    jax.config.update(name.lower(), value)
