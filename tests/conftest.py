"""How the tests are distributed; what they share is in fixtures.py."""

import gc
import os
import tempfile

import pytest

LONGEST = ("test_devices", "test_variants", "test_seeds", "test_other_task", "test_processes")
LONGEST += ("test_chaos", "test_damage", "test_stages", "test_checkpoints", "test_launch")

# Of programs that take long to compile, for all processes of this test run; see compilation.py.
if "AVVP_TESTS_CACHE" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory()
    os.environ["AVVP_TESTS_CACHE"] = _CACHE.name


def pytest_configure(config: pytest.Config) -> None:
    """Loads the fixtures, but not where a process only distributes the tests to others."""
    listing = config.getoption("collectonly") or config.getoption("showfixtures")
    if listing or hasattr(config, "workerinput") or not config.getoption("tx", None):
        config.pluginmanager.import_plugin("tests.fixtures")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: tests wait for disks, processes and one another."""
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    if asked:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores + 1


def pytest_collection_modifyitems(items):
    """The longest files first: a worker that takes one last would be left alone with it."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish():
    """Looks for cycles of garbage less often.

    What is there from the start stays, and tracing makes many objects that live for a while.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
