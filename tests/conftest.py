"""How the tests are distributed and compiled; what they share is in fixtures.py."""

import gc
import os
import pathlib
import re
import signal
import tempfile

import pytest

from tests.xla_flags import with_quick_flags

# Files that one worker takes together: they train with the same compiled programs, or fork from
# the same process.
TRAININGS = ("test_seeds", "test_stages", "test_fit", "test_modes", "test_checkpoints")
TRAININGS += ("test_divergence", "test_preemption", "test_faults", "test_cloud")
PROCESSES = ("test_processes", "test_chaos", "test_launch", "test_damage")
# Of these, tests of one of the later methods go together instead, so that they have its compiled
# programs, and no worker is left alone with all.
BY_METHOD = ("test_seeds", "test_variants")
OF_METHOD = {"test_leap": "leap", "test_kept_frames": "cmpae", "test_cmpae_runs": "cmpae"}
METHOD = re.compile(r"\[(cmpae|dhhn|leap|mm_cse|valor)\b")
FIRST = (*TRAININGS, *PROCESSES, "test_devices", "test_valor_from_videos", "test_time_mask")
FIRST += ("test_variants", "test_other_task", "test_feed")

# Under nohup a process ignores SIGHUP, in the background of a script SIGINT, and so would those
# that tests start and send it to. A handler protects this one as well, and they begin without it.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# What all processes of this test run share; see compilation.py and xla_flags.py. Temporary files
# are there too: browsers, killed programs and lines that name a file leave some. Not the tests' own
# folders, which pytest removes, but keeps those of tests that fail.
if "AVVP_TESTS_CACHE" not in os.environ:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    _CACHE = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ["AVVP_TESTS_CACHE"] = _CACHE.name
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(dir=_CACHE.name)
    if "AVVP_AS_USERS_COMPILE" not in os.environ:
        os.environ["XLA_FLAGS"] = with_quick_flags(os.environ.get("XLA_FLAGS", ""))


def pytest_configure(config: pytest.Config) -> None:
    """Loads the fixtures, but not where a process only distributes the tests to others."""
    listing = config.getoption("collectonly") or config.getoption("showfixtures")
    if listing or hasattr(config, "workerinput") or not config.getoption("tx", None):
        config.pluginmanager.import_plugin("tests.fixtures")
        config.pluginmanager.import_plugin("tests.browser")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: tests wait for disks, processes and one another."""
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    if asked:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores + 1


def pytest_collection_modifyitems(items):
    """What takes longest first: a worker that takes it last would be left alone with it."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Distributes files, and some of them together."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            stem = pathlib.PurePosixPath(file).stem
            if stem in BY_METHOD and (method := METHOD.search(nodeid)):
                return method[1]
            if stem in OF_METHOD:
                return OF_METHOD[stem]
            return next((files[0] for files in (TRAININGS, PROCESSES) if stem in files), file)

    return Together(config, log)


def pytest_collection_finish():
    """Looks for cycles of garbage less often.

    What is there from the start stays, and tracing makes many objects that live for a while.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
