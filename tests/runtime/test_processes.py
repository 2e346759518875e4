"""Several processes through launch.py: as one, and what happens when one of them is lost."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from avvp_jax.data.prepared import open_dataset
from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import NAMES
from avvp_jax.modes import run
from avvp_jax.runtime.endings import LOST, unanswered
from tests.held import OTHERS, start_held
from tests.launching import launch, start
from tests.programs import (
    BUSY,
    PATIENCE,
    flags_of,
    free_port,
    killed,
    saved,
    started,
    wait_for,
)
from tests.run_files import weights_of
from tests.weights import assert_same_training

EPOCHS = 8
# Longer than the heartbeats, shorter than what is promised.
PROMISED_SECONDS = 30


@pytest.fixture
def flags(config):
    """The command line of a small run but for its work directory."""
    open_dataset(config.data)  # prepared beforehand, or the first process would show it
    config.train.epochs = EPOCHS
    return flags_of(config)


def without_waiting(said: str) -> str:
    """What a process said, but that it waits for others, which are late on a slow machine."""
    waiting = ": waiting for all 2 processes of this run"
    return "".join(line for line in said.splitlines(keepends=True) if waiting not in line)


@pytest.fixture
def start_two():
    """Starts launch.py in two processes; all are killed at the end.

    The first one writes what the run leaves, so if asked for, it has TensorFlow; the other never.
    """
    started = []

    def both_of(*arguments: str, tensorflow: bool = False, held: int | None = None) -> list:
        """One of them may be held in training, so that it is there when it is killed."""
        common = [*arguments, f"--coordinator=localhost:{free_port()}", "--num_processes=2"]
        for index in range(2):
            flags = [*common, f"--process_id={index}"]
            if index == held:
                saving = {"moment": "a state that is to be saved", "of": "train", "count": 5}
                started.append(start_held(*flags, **saving))
            else:
                started.append(start(*flags, tensorflow=tensorflow and index == 0))
        return started[-2:]

    yield both_of
    for process in started:
        process.kill()


@pytest.mark.usefixtures("tensorboard")
def test_two_processes_train_as_one_also_when_one_is_lost(start_two, config, flags, tmp_path):
    """The second is killed in training; the same command goes on."""
    alone, both = tmp_path / "alone", tmp_path / "both"
    first, second = start_two(*flags, f"--workdir={both}", held=1)
    wait_for(first, lambda: saved(both / "train", beyond=4))
    error = end_of_the_other(second, first)
    assert first.returncode == LOST, error
    assert error.count("launch.py") == 1
    assert "launch.py: process 0: another process of this run is lost; start the same" in error
    assert not (both / "scores_test.json").exists()

    first, second = start_two(*flags, f"--workdir={both}", tensorflow=True)
    outputs = [process.communicate() for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    outputs = [(out, without_waiting(error)) for out, error in outputs]
    assert "going on after epoch" in outputs[0][0]
    assert "2 x cpu of 2 processes" in outputs[0][0]
    assert f"epoch {EPOCHS}/{EPOCHS}" in outputs[0][0]
    assert outputs[1] == ("", "")

    run(config, str(alone), "train")
    models = [jax.device_get(weights_of(w)[0].variables) for w in (alone, both)]
    assert_same_training(*models, moved=3e-4 * EPOCHS * 2)
    one, two = (json.loads((w / "scores_test.json").read_text()) for w in (alone, both))
    for name in NAMES:
        np.testing.assert_allclose(one[name], two[name], atol=1e-3)
    logged = [json.loads(line) for line in (both / "metrics.jsonl").read_text().splitlines()]
    epochs = [line["step"] for line in logged if "train/loss" in line]
    assert sorted(set(epochs)) == list(range(1, EPOCHS + 1))
    assert {p.name for p in alone.iterdir()} == {p.name for p in both.iterdir()}


def end_of_the_other(lost, other) -> str:
    """Kills one of two processes; returns what the other says when it ends, soon after."""
    lost.kill()
    killed = time.monotonic()
    _, error = other.communicate(timeout=PATIENCE)
    assert time.monotonic() - killed < PROMISED_SECONDS
    return without_waiting(error)


def test_the_loss_of_the_first_process_ends_the_others(start_two, flags, tmp_path):
    first, second = start_two(*flags, f"--workdir={tmp_path}/W", held=0)
    wait_for(second, lambda: saved(tmp_path / "W/train", beyond=4))
    error = end_of_the_other(first, second)
    assert second.returncode == LOST, error
    assert error.count("\n") == 1
    assert "launch.py: process 1: another process of this run is lost" in error


@pytest.mark.parametrize(
    ("when", "number", "other"),
    [
        ("at once", signal.SIGTERM, signal.SIGTERM),
        ("when the first one has stopped", signal.SIGUSR1, signal.SIGHUP),
    ],
)
def test_a_signal_to_one_process_and_then_the_other_saves_and_ends_both(
    start_two, flags, tmp_path, when, number, other
):
    """A scheduler signals hosts one after the other. Where it is, TensorFlow has a say too."""
    flags = [*flags, f"--workdir={tmp_path}/W", "--config.train.epochs=400"]
    first, second = start_two(*flags, tensorflow=when == "at once")
    wait_for(first, lambda: saved(tmp_path / "W/train", beyond=4))
    first.send_signal(number)
    said = ""
    if when != "at once":
        said = next(filter(without_waiting, first.stderr))
    second.send_signal(other)
    errors = [without_waiting(process.communicate()[1]) for process in (first, second)]
    assert [first.returncode, second.returncode] == [75, 75], errors
    stopped = f"launch.py: stopped by {number.name}; start the same command again to go on\n"
    assert [said + errors[0], errors[1]] == [stopped, ""]
    assert not list((tmp_path / "W").rglob("*.orbax-checkpoint-tmp"))


def ends_by_a_mistake(first, second) -> list[tuple[int, str]]:
    """Exit codes and words of two processes, of which the first waits for the second's end."""
    said = next(filter(without_waiting, first.stderr), "")
    others = without_waiting(second.communicate(timeout=PATIENCE)[1])
    first.terminate()
    said += first.communicate(timeout=PATIENCE)[1]
    return [(first.returncode, said), (second.returncode, others)]


def test_processes_that_are_not_started_alike_are_refused(flags, tmp_path):
    port = free_port()
    both = [
        start_held(
            *flags,
            f"--workdir={tmp_path}/{place}",
            f"--coordinator=localhost:{port}",
            "--num_processes=2",
            f"--process_id={index}",
            f"--config.seed={seed}",
            moment=OTHERS,
        )
        for index, (place, seed) in enumerate((("W", 1), ("W", 2)))
    ]
    for code, error in ends_by_a_mistake(*both):
        assert code == 2, error
        assert "config.seed differs between process 0 and process 1" in error
    assert not (tmp_path / "W").exists()


def test_a_port_that_is_taken_is_refused(flags, tmp_path):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        several = [f"--coordinator=localhost:{port}", "--num_processes=2", "--process_id=0"]
        result = launch(*flags, f"--workdir={tmp_path}/W", *several)
    assert result.returncode == 2
    assert f"--coordinator=localhost:{port}: port {port} cannot be used here" in result.stderr


def test_a_cluster_is_found_by_itself(tmp_path):
    """Two tasks of Slurm make the same mistake: the first one's line, and exit code 2."""
    flags = ["--config=configs/han.py", f"--workdir={tmp_path}/W", "--mode=eval"]
    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost"}
    both = []
    for index in range(2):
        task = {"SLURM_NTASKS": "2", "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}
        both.append(start_held(*flags, moment=OTHERS, extra=slurm | task))
    for index, (code, error) in enumerate(ends_by_a_mistake(*both)):
        assert code == 2, error
        assert f"launch.py: process {index}: " in error
        assert "--mode=train" in error or "config.json" in error


ABORT = """
import os, sys
from avvp_jax.runtime import endings, preemption
endings.take_over(0)
endings.found_others()
os.write(1, b"from compiled code")
{settle}
os.abort()
"""


@pytest.mark.parametrize(("code", "lines"), [(1, 1), (0, 0), (75, 0)])
def test_what_is_aborted_after_all_have_come_to_an_end_keeps_its_exit_code(
    code, lines, tmp_path, monkeypatch
):
    """As where another process is gone before this one has closed its connections."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    settle = "" if lines else f"preemption.settle({code})"
    program = [sys.executable, "-c", ABORT.format(settle=settle)]
    result = subprocess.run(program, capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (code, lines), result.stderr
    kept = [path.read_text() for path in tmp_path.iterdir()]
    assert kept == ["from compiled code"] * lines  # where a line names them


def test_a_process_that_is_killed_leaves_no_file_of_its_output(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = ABORT.format(settle=f"print('here', flush=True); {BUSY}")
    assert killed(program, signal.SIGKILL).returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def test_a_signal_to_a_process_that_has_said_its_mistake_changes_nothing():
    """As from a launcher that ends the others once one has."""
    process = started(
        "from avvp_jax.runtime import endings, preemption\n"
        "from avvp_jax.errors import UserError\n"
        "preemption.watch()\n"
        "endings.take_over(0)\n"
        "endings.end(UserError('a mistake'), 2)"
    )
    said = process.stderr.readline()
    process.terminate()
    assert process.wait(PATIENCE) == 2
    assert "process 0: a mistake (details: " in said and process.stderr.read() == ""
    pathlib.Path(said.rpartition("details: ")[2].rstrip(")\n")).unlink()


def test_flags_are_checked_before_anything_starts(tmp_path):
    flags = ["--config=configs/han.py", f"--workdir={tmp_path}/W", "--num_processes=2"]
    result = launch(*flags)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--coordinator=HOST:PORT" in result.stderr
    assert not (tmp_path / "W").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"), True),
        (RuntimeError("UNAVAILABLE: Socket closed"), True),
        (UserError("config.train.epochs=0 must be greater than 0"), False),
        (UserError("the barrier of heartbeats"), False),
        (ValueError("shapes differ"), False),
    ],
)
def test_what_another_process_is_to_blame_for(error, expected):
    assert unanswered(error) is expected
    wrapped = UserError("checkpoints cannot be written")
    wrapped.__cause__ = error
    assert unanswered(wrapped) is expected
