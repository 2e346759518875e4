"""Decoding in processes of their own: order, limits, crashes, and nothing left running."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.media import messages, workers
from avvp_jax.media.windows import Wanted, Window, whole, windows
from avvp_jax.media.workers import Limits, read_all
from avvp_jax.task import LLP
from tests.media.clips import make, path_of, plain
from tests.programs import PATIENCE

ROOT = pathlib.Path(__file__).parent.parent.parent
SEEN = Wanted(LLP, views=("r2plus1d",), sound=False)


_OTHERS: list[int] = []  # decoders of other files' tests in this process


@pytest.fixture(scope="module", autouse=True)
def _others():
    _OTHERS[:] = decoders()
    yield
    _OTHERS.clear()


def decoders(parent: int | None = None) -> list[int]:
    """The processes that decode for a process, by default for these tests in this one."""
    found = []
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            says = place.joinpath("stat").read_text().rsplit(")", 1)[1].split()
            command = place.joinpath("cmdline").read_bytes()
            if b"avvp_jax.media.worker" in command and says[0] != "Z":
                if int(says[1]) == (parent or os.getpid()):
                    found.append(int(place.name))
    return [number for number in found if number not in _OTHERS]


def decoders_once(count: int, parent: int | None = None) -> list[int]:
    """The processes that decode for a process, once there are so many of them."""
    end = time.monotonic() + PATIENCE
    while len(found := decoders(parent)) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert len(found) == count
    return found


def gone(numbers: list[int], seconds: float = PATIENCE) -> bool:
    """Whether processes end within some seconds."""
    end = time.monotonic() + seconds
    while any(running(number) for number in numbers):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def running(number: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Clock:
    """The time by which decoding is limited: it flies while a process runs, if one is named."""

    def __init__(self):
        self.process, self._flown = 0, 0.0

    def monotonic(self) -> float:
        self._flown += 50 if self.process and running(self.process) else 0
        return time.monotonic() + self._flown


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """So that no limit has to be so short that a slow machine exceeds it."""
    monkeypatch.setattr(workers, "time", clock := Clock())
    return clock


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """Two hours: decoding them takes longer than any test."""
    path = tmp_path_factory.mktemp("endless") / "x.mkv"
    return make(path, [plain(size=(64, 64))] * 14400, 2, codec="mpeg4")


def test_results_are_those_of_this_process_in_the_order_of_the_files():
    clips = ("long", "no_audio", "short", "truncated_no_index", "audio_only")
    paths = [path_of(clip) for clip in clips]
    wanted = Wanted(LLP, views=("r2plus1d", "clip"), partial=True, sound_48k=True)
    found = list(read_all(paths, wanted, workers=2))
    assert not decoders()
    ends = [read for read in found if read.window is None]
    assert [read.path for read in ends] == paths
    assert [bool(read.problem) for read in ends] == [False, False, False, True, False]
    assert str(ends[3].problem).startswith(f"{paths[3]}: has no index of its frames")
    for path in (paths[0], paths[2], paths[4]):
        mine = list(windows(path, wanted))
        theirs = [read.window for read in found if read.path == path and read.window]
        assert [w.start for w in theirs] == [w.start for w in mine]
        for a, b in zip(mine, theirs, strict=True):
            assert (a.seconds, a.missing) == (b.seconds, b.missing)
            assert list(a.pictures) == list(b.pictures)
            np.testing.assert_array_equal(a.sound, b.sound)
            np.testing.assert_array_equal(a.sound_48k, b.sound_48k)
            for view in a.pictures:
                np.testing.assert_array_equal(a.pictures[view], b.pictures[view])


def test_whole_videos_are_read_as_in_this_process():
    wanted = Wanted(LLP, views=("r2plus1d",), fidelity="published")
    (read, end) = read_all([path_of("truncated")], wanted, whole=True, workers=1)
    mine = whole(path_of("truncated"), wanted)
    assert end == (path_of("truncated"), None, None) and read.window.missing == mine.missing
    np.testing.assert_array_equal(read.window.sound, mine.sound)
    np.testing.assert_array_equal(read.window.pictures["r2plus1d"], mine.pictures["r2plus1d"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_ends_costs_its_file_alone(endless, number):
    reads = read_all([endless, path_of("no_audio"), path_of("short")], SEEN, workers=1)
    assert next(reads).window
    (killed,) = decoders()
    os.kill(killed, number)
    ends = [read for read in reads if read.window is None]
    said = f"crashed the decoder ({number.name})"
    if number == signal.SIGKILL:
        said = "its decoder was killed"
    assert str(ends[0].problem).startswith(f"{endless}: ") and said in str(ends[0].problem)
    assert [read[1:] for read in ends[1:]] == [(None, None)] * 2
    assert not decoders()


def test_an_idle_decoder_that_ends_costs_nothing(monkeypatch):
    idle, read = threading.Event(), workers._Hand._read
    monkeypatch.setattr(workers._Hand, "_read", lambda *of: (read(*of), idle.set()))

    def given():
        yield path_of("no_audio")
        assert idle.wait(PATIENCE)  # both messages about the file are read by now
        (decoder,) = decoders()
        os.kill(decoder, signal.SIGKILL)
        # `gone` is too early: the first thread may have ended while others still do.
        os.waitid(os.P_PID, decoder, os.WEXITED | os.WNOWAIT)
        yield path_of("short")

    reads = list(read_all(given(), SEEN, workers=1))
    assert [read.problem for read in reads] == [None] * len(reads) and len(reads) == 4


def test_a_decoder_that_hangs_is_given_up(endless, clock):
    reads = read_all([endless, path_of("no_audio")], SEEN, workers=1, limits=Limits(seconds=150))
    assert next(reads).window
    (hung,) = decoders()
    os.kill(hung, signal.SIGSTOP)
    clock.process = hung
    ends = [read for read in reads if read.window is None]
    assert "was given up: its decoder took too long (it may take 150 s" in str(ends[0].problem)
    assert ends[1].problem is None
    assert not running(hung)


def test_a_file_that_takes_too_long_in_all_is_given_up(endless, clock):
    limits = Limits(seconds=1e6, total=2000)
    reads = read_all([endless, path_of("no_audio")], SEEN, workers=1, limits=limits)
    assert next(reads).window
    (clock.process,) = decoders()
    found = list(reads)
    ends = [read for read in found if read.window is None]
    assert "took too long" in str(ends[0].problem) and ends[1].problem is None
    assert len(found) < 60  # in two hours are 720 windows


def test_a_file_that_needs_too_much_memory_is_left_out(tmp_path):
    large = make(tmp_path / "x.mkv", [plain(size=(4000, 4000))] * 2, codec="mpeg4")
    paths = [path_of("rotated"), large, path_of("rotated")]
    reads = list(read_all(paths, SEEN, workers=1, limits=Limits(megabytes=60)))
    ends = [read.problem for read in reads if read.window is None]
    assert ends[0] is None and ends[2] is None
    assert "memory" in str(ends[1]) and str(ends[1]).startswith(large)


def test_decoding_does_not_run_far_ahead(tmp_path):
    """Nobody takes what was read: few files have been opened."""
    taken = []

    def paths():
        for at in range(50):
            taken.append(at)
            yield path_of("short")

    reads = read_all(paths(), SEEN, workers=2)
    next(reads)
    time.sleep(1)
    assert len(taken) <= 4
    reads.close()
    assert not decoders()


def test_what_is_closed_early_leaves_no_process(endless, monkeypatch):
    """And reads nothing more: each file has two windows ahead and one that has no room."""
    found, read = [], messages.read
    monkeypatch.setattr(messages, "read", lambda take: found.append(read(take)) or found[-1])
    reads = read_all([endless] * 3, SEEN, workers=2)
    next(reads)
    decoders_once(2)
    reads.close()
    assert not decoders() and sum(isinstance(each, Window) for each in found) <= 1 + 2 * 3


SCRIPT = """
import sys
from avvp_jax.runtime import preemption
from avvp_jax.media.windows import Wanted
from avvp_jax.media.workers import read_all
from avvp_jax.task import LLP
if sys.argv[2] == "watched":
    preemption.watch()
for read in read_all([sys.argv[1]] * 3, Wanted(LLP, views=("r2plus1d",), sound=False)):
    print("window", flush=True)
"""


@pytest.mark.parametrize(
    "number,watched,code",
    [
        (signal.SIGKILL, "", -signal.SIGKILL),
        (signal.SIGTERM, "watched", 75),
        (signal.SIGINT, "watched", 130),
        (signal.SIGINT, "", -signal.SIGINT),
    ],
)
def test_no_decoder_outlives_who_asked(endless, number, watched, code):
    """And a script needs no guard against being imported by its own processes."""
    command = [sys.executable, "-c", SCRIPT, endless, watched]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout.readline() == b"window\n"
        numbers = decoders_once(2, process.pid)
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(PATIENCE) == code
    assert gone(numbers)


def test_processes_that_do_not_start_are_no_fault_of_a_file(monkeypatch):
    monkeypatch.setattr(workers, "_START", "raise SystemExit(3)")
    with pytest.raises(UserError, match="no process can be started to read videos"):
        list(read_all([path_of("short")], SEEN))
    assert not decoders()
