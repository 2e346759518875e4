"""Runs that are asked to stop. See also chaos.py."""

import signal

import pytest

from avvp_jax.modes import run
from avvp_jax.runtime import preemption
from avvp_jax.runtime.preemption import Preempted
from avvp_jax.training import fit
from tests.programs import BUSY, PATIENCE, killed, started
from tests.run_files import checkpoints, last_state, logged, steps


@pytest.fixture
def stop_at(monkeypatch):
    """Makes the nth question whether to stop, over all runs of a test, be answered with yes."""

    def ask(*numbers: int):
        asked_before = 0

        def asked() -> bool:
            nonlocal asked_before
            asked_before += 1
            if asked_before in numbers:
                monkeypatch.setattr(preemption, "_received", signal.SIGTERM)
            return preemption._received is not None

        monkeypatch.setattr(fit, "asked", asked)

    return ask


def test_a_training_that_is_stopped_ends_with_the_same_bits(config, tmp_path, monkeypatch, stop_at):
    """In the middle of the first epoch, at the end of it, and in the middle of the last."""
    config.train.epochs, config.train.steps_per_call, config.train.batch_size = 3, 1, 1
    config.train.save_seconds, config.model.dropout = 3600.0, 0.1
    config.schedule.every_epochs = 1
    run(config, str(tmp_path / "whole"), "train")
    workdir, saved = tmp_path / "stopped", []
    stop_at(2, 4, 11)
    for _ in range(3):
        with pytest.raises(Preempted, match="stopped by SIGTERM") as stopped:
            run(config, str(workdir), "train")
        assert stopped.value.code == 75
        monkeypatch.setattr(preemption, "_received", None)
        saved.append(steps(checkpoints(workdir / "train/latest")[-1]))
    assert saved == [2, 4, 11]
    run(config, str(workdir), "train")
    assert last_state(workdir, "train") == last_state(tmp_path / "whole", "train")
    assert logged(workdir) == logged(tmp_path / "whole")


CODES = {signal.SIGTERM: 75, signal.SIGINT: 130, signal.SIGHUP: 75, signal.SIGUSR1: 75}
CODES |= {signal.SIGUSR2: 75, signal.SIGXCPU: 75}


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_a_signal_outside_training_ends_the_process_at_once(number, code):
    """Even in code that keeps Python's own handlers waiting."""
    program = (
        "from avvp_jax.runtime import preemption; preemption.watch(); print(1, flush=True);" + BUSY
    )
    result = killed(program, number)
    assert result.returncode == code
    assert result.stderr.read().count("\n") == 1


@pytest.fixture
def holding(monkeypatch):
    """This process as one in training; returns the list of signals that have ended it at once."""
    ended_by = []
    for name, value in {"_holding": True, "_received": None, "_insisted": False}.items():
        monkeypatch.setattr(preemption, name, value)
    monkeypatch.setattr(preemption, "_end", ended_by.append)
    return ended_by


@pytest.mark.parametrize("number", preemption.ANNOUNCEMENTS)
def test_an_announcement_may_come_again_and_before_a_signal(holding, number):
    """A shell and the system both send SIGHUP for a lost terminal, SIGXCPU comes every second."""
    for received in (number, number, signal.SIGTERM, number):
        preemption._receive(received)
    assert (holding, preemption._received) == ([], number)
    preemption._receive(signal.SIGINT)
    assert holding == [signal.SIGINT]


def test_an_announcement_after_a_signal_leaves_it_time_to_save(holding):
    for received in (signal.SIGINT, *preemption.ANNOUNCEMENTS):
        preemption._receive(received)
    assert (holding, preemption._received) == ([], signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_an_announcement_that_was_ignored_stays_so(number):
    """As under nohup."""
    program = (
        f"import os, signal; signal.signal({int(number)}, signal.SIG_IGN)\n"
        "from avvp_jax.runtime import preemption; preemption.watch()\n"
        f"os.kill(os.getpid(), {int(number)}); import time; time.sleep(0.2)"
    )
    process = started(program)
    assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")


def test_a_second_signal_ends_a_training_at_once():
    program = (
        "from avvp_jax.runtime import preemption; preemption.watch()\n"
        "with preemption.held():\n"
        "  print(1, flush=True)\n"
        "  while not preemption._received: pass\n"
        f"  print(2, flush=True); {BUSY}"
    )
    process = started(program)
    for expected in "12":
        assert process.stdout.readline().strip() == expected
        process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 75


LATE = """
import os, signal
from avvp_jax.runtime import preemption, processes

class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)

late = Late()
preemption.watch()
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("processes.leave(75)", 75), ("1 / 0", 1)])
def test_a_signal_while_python_ends_leaves_the_exit_code_as_it_is(end, code):
    """Modules are torn down after Python has let go of its handlers, which takes JAX a second."""
    assert started(LATE + end).wait(PATIENCE) == code


def test_a_signal_after_the_exit_code_is_settled_only_hastens_the_end():
    program = "from avvp_jax.runtime import preemption; preemption.watch(); preemption.settle(2)\n"
    result = killed(program + "print(1, flush=True);" + BUSY, signal.SIGTERM)
    assert (result.returncode, result.stderr.read()) == (2, "")
