"""Kills a run of JoMoLD again and again, in every stage, and compares it with one left alone.

  python tests/chaos.py [--kills 20] [--seed 0] [--folder DIR]

A few videos, a small network, all stages; launch.py runs in a process of its own. Each kill is a
SIGKILL or a SIGTERM, waits for its moment, and the same command follows. It prints where each
fell. In the end weights, optimizer, noise ratios, scores and logged means must be the same bits.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from signal import SIGKILL, SIGTERM, Signals
from typing import NamedTuple

import jax
import numpy as np
from absl import logging

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvp_jax.experiment.records import recall
from avvp_jax.methods import stages_of
from avvp_jax.training.run import whole_run
from tests.tfds_llp.published_folder import TRAIN, write_published

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACES = ("data", "estimator", "ratios", "denoise", "evaluation")
TRAININGS = ("estimator", "denoise")
FLAGS = ["--config=configs/jomold.py"]
FLAGS += ["--config.model.width=16", "--config.model.feed_forward=16"]
FLAGS += ["--config.train.batch_size=1", "--config.train.steps_per_call=1"]
FLAGS += ["--config.train.save_seconds=0"]
VIDEOS = 60  # to train on: so many steps and calls in an epoch, to be killed between writes
BEING_WRITTEN = "*/*/*.orbax-checkpoint-tmp"
READY = "while data were ready"  # too late
SECONDS = 1800  # after which a moment will never come


class Kill(NamedTuple):
    """A kill to come: where in the run, with what, and whether inside a checkpoint write."""

    place: str
    signal: Signals
    in_write: bool = False


IMPORTANT = [
    Kill("estimator", SIGKILL, in_write=True),
    Kill("denoise", SIGTERM),
    Kill("ratios", SIGKILL),
    Kill("denoise", SIGKILL, in_write=True),
    Kill("estimator", SIGTERM),
    Kill("evaluation", SIGTERM),
    Kill("data", SIGKILL),
    Kill("ratios", SIGTERM),
    Kill("evaluation", SIGKILL),
    Kill("data", SIGTERM),
]
FURTHER = [
    Kill(place, signal, in_write)
    for signal, in_write in ((SIGKILL, False), (SIGKILL, True), (SIGTERM, True), (SIGTERM, False))
    for place in TRAININGS
]


def kills(count: int) -> list[Kill]:
    """So many kills in the order of the run; ten or more are in every stage."""
    chosen = IMPORTANT + FURTHER * (count // len(FURTHER) + 1)
    return sorted(chosen[:count], key=lambda kill: PLACES.index(kill.place))


class Started:
    """A launch.py under way, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.printed, self._errors = process, "", ""
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._listen)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.printed += line

    def _listen(self) -> None:
        self._errors = self.process.stderr.read()

    def wait_for(self, come: Callable[[], bool]) -> None:
        """Waits for a moment; the run must still be under way then."""
        deadline = time.monotonic() + SECONDS
        while not come():
            assert self.process.poll() is None, f"ended too soon: {self.end()}"
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.0005)

    def end(self) -> tuple[int, str]:
        """Waits for its end: exit code, and what went to stderr."""
        code = self.process.wait()
        for reader in self._readers:
            reader.join()
        return code, self._errors


class Disturbed(NamedTuple):
    """A run that is killed: how its process is started, and its folders.

    `start` may have the process wait where it would get beyond a kill, given as `until`.
    """

    start: Callable[..., subprocess.Popen]
    flags: list[str]
    workdir: pathlib.Path
    data_dir: pathlib.Path

    def saved(self, stage: str) -> set[int]:
        """The steps of a training's whole checkpoints."""
        names = [path.name for path in self.workdir.glob(f"{stage}/latest/*")]
        return {int(name) for name in names if name.isdigit()}

    def being_written(self) -> list[str]:
        """The checkpoints that are being written, or were when the process died."""
        return [str(path.relative_to(self.workdir)) for path in self.workdir.glob(BEING_WRITTEN)]

    def kill(self, kill: Kill, delay: float) -> str:
        """Starts the run, or goes on with it, and kills it; returns where that was."""
        started = Started(self.start(*self.flags, f"--workdir={self.workdir}", until=kill))
        started.wait_for(self._moment(kill, started))
        if not kill.in_write:
            time.sleep(delay)
            # A kill in training is to fall between writes.
            started.wait_for(lambda: kill.place not in TRAININGS or not self.being_written())
        started.process.send_signal(kill.signal)
        found = self.being_written()
        code, errors = started.end()
        if kill.signal == SIGTERM:
            assert code == 75, (code, errors)
            assert errors.count("\n") == 1 and "stopped by SIGTERM" in errors, errors
            assert not self.being_written() or kill.place not in TRAININGS
        else:
            assert code == -SIGKILL, (code, errors)
            found = self.being_written()
        return self._where(kill.place, found)

    def _moment(self, kill: Kill, started: Started) -> Callable[[], bool]:
        """Whether the moment of a kill has come."""
        if kill.place == "data":
            return lambda: any(self.data_dir.glob("llp/.*.lock"))
        if kill.place == "ratios":
            return lambda: "ratios: starting" in started.printed
        if kill.place == "evaluation":
            # Between the two splits, or where they were evaluated before from the start.
            scores = self.workdir / "scores_val.json"
            new = not scores.exists()
            done = "denoise: finished before"
            return lambda: done in started.printed or (new and scores.exists())
        before = self.saved(kill.place)

        def come() -> bool:
            # After a new checkpoint, so that the run gets on.
            return self.saved(kill.place) - before and bool(self.being_written()) == kill.in_write

        return come

    def _where(self, place: str, being_written: list[str]) -> str:
        if being_written:
            return f"inside a checkpoint write: {being_written[0]}"
        if place in TRAININGS:
            return f"in training: {place}, after step {max(self.saved(place))} was saved"
        if place == "data":
            if any(self.data_dir.glob("llp/*/incomplete.*")):
                return "while data were written"
            return READY if any(self.data_dir.glob("llp/*/1*")) else "while data were read"
        there = {"ratios": "ratios/noise_ratios.npz", "evaluation": "scores_test.json"}[place]
        when = "after" if (self.workdir / there).exists() else "before"
        return f"in {place}, {when} {there} was written"


def results(workdir: pathlib.Path) -> dict:
    """Everything that a run leaves and two runs must agree in."""
    logging.set_verbosity(logging.FATAL)
    run = whole_run(config := recall(str(workdir)), str(workdir), stages_of(config))
    trained = {stage.name: stage for stage in run.stages if stage.name in TRAININGS}
    found = {name: jax.device_get(stage.models(run)) for name, stage in trained.items()}
    with np.load(workdir / "ratios/noise_ratios.npz") as file:
        found["ratios"] = {name: file[name] for name in file.files}
    for name in TRAININGS:  # the whole last state, by its checksums
        last = max((workdir / name / "latest").glob("[0-9]*"), key=lambda path: int(path.name))
        found[f"{name}, last state"] = json.loads((last / "checksums/metadata").read_text())
    for split in ("val", "test"):
        scores = json.loads((workdir / f"scores_{split}.json").read_text())
        found[split] = {name: value for name, value in scores.items() if name != "weights"}
    found["logged"] = {}
    for line in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()):
        stage = next((name for name in TRAININGS if f"{name}/train/loss" in line), None)
        if stage:  # an epoch that was lost is logged again
            kept = {name: value for name, value in line.items() if "second" not in name}
            found["logged"][f"{stage} {line['step']}"] = kept
    return found


def chaos(
    start: Callable[..., subprocess.Popen],
    flags: list[str],
    folder: pathlib.Path,
    data_dir: pathlib.Path,
    planned: list[Kill],
    seed: int = 0,
) -> list[str]:
    """Runs once undisturbed and once with kills, and compares the two.

    Args:
      start: starts launch.py with arguments; see Disturbed.
      data_dir: of the disturbed run; the other one prepares its data apart.

    Returns:
      Where the kills fell; those that missed a checkpoint write, or the data, are repeated.

    Raises:
      AssertionError: the runs differ, or a process did not end as documented.
    """
    whole, delays = folder / "whole", random.Random(seed)
    undisturbed = Started(
        start(*flags, f"--config.data.data_dir={folder / 'tfds'}", f"--workdir={whole}")
    )
    assert undisturbed.end()[0] == 0, undisturbed.end()
    flags = [*flags, f"--config.data.data_dir={data_dir}"]
    disturbed, fallen = Disturbed(start, flags, folder / "killed", data_dir), []
    for kill in planned:
        hit = False
        while not hit:
            place = disturbed.kill(kill, delays.uniform(0, 0.2))
            fallen.append(f"{kill.signal.name} {place}")
            print(f"kill {len(fallen):2}: {fallen[-1]}", flush=True)
            hit = place.startswith("inside") if kill.in_write else place != READY
            if place == READY:  # preparing is over so soon; let it begin again
                shutil.rmtree(data_dir / "llp")
    last = Started(start(*disturbed.flags, f"--workdir={disturbed.workdir}"))
    assert last.end()[0] == 0, last.end()
    one, two = results(whole), results(disturbed.workdir)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    return fallen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments' delays")
    parser.add_argument("--folder", type=pathlib.Path, help="where to run; kept afterwards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or pathlib.Path(temporary)).absolute()
        train = {
            f"video{index:06}_0_10": label
            for index, label in zip(range(VIDEOS), itertools.cycle(TRAIN.values()), strict=False)
        }
        data = write_published(folder / "DATA", train=train)
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        }

        def start(*flags: str, until: Kill | None = None) -> subprocess.Popen:
            command = [sys.executable, str(ROOT / "launch.py"), *flags]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            return subprocess.Popen(command, env=environment, cwd=ROOT, **pipes)

        planned = kills(arguments.kills)
        # Each kill in a training waits for a checkpoint, which takes an epoch and a part of one.
        epochs = 3 + 2 * max(sum(kill.place == place for kill in planned) for place in TRAININGS)
        flags = [*FLAGS, f"--config.data.manual_dir={data}", f"--config.train.epochs={epochs}"]
        fallen = chaos(start, flags, folder, folder / "tfds-killed", planned, arguments.seed)
    for text in ("inside a checkpoint write", "in training"):
        print(f"{sum(text in place for place in fallen)} of {len(fallen)} kills {text}")
    print("weights, states, noise ratios, scores and logged means are the same bits")


if __name__ == "__main__":
    main()
