"""Runs that are stopped, damaged, refused, that diverge or fill the disk. See also chaos.py."""

import dataclasses
import json
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

import avvp_jax.stages
from avvp_jax import fit, keys, preemption
from avvp_jax.checkpoints import Checkpoints
from avvp_jax.data import load_split, open_dataset
from avvp_jax.errors import UserError
from avvp_jax.labels import targets
from avvp_jax.logs import JsonWriter
from avvp_jax.mesh import make_mesh
from avvp_jax.methods import han
from avvp_jax.modes import run
from avvp_jax.network import parser_network
from avvp_jax.preemption import Preempted
from avvp_jax.train import epoch_order
from tests.test_launch import SMALL

# Compiled code that lets other threads run, for hours.
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PATIENCE = 300  # seconds, of a test with a process that may hang

pytestmark = pytest.mark.usefixtures("quick_compile")


def last_state(workdir: pathlib.Path, stage: str) -> list:
    """The checksums of a stage's last state and of its best model."""
    newest = [checkpoints(workdir / stage / kind)[-1] for kind in ("latest", "best")]
    return [(path.name, (path / "checksums/metadata").read_text()) for path in newest]


def checkpoints(folder: pathlib.Path) -> list[pathlib.Path]:
    """Those that are not set aside, in order."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=steps)


def steps(path: pathlib.Path) -> int:
    return int(path.name)


def logged(workdir: pathlib.Path) -> list[dict]:
    """What was logged of each epoch, but for its speed."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    epochs = [line for line in lines if any(name.endswith("train/loss") for name in line)]
    return [{k: v for k, v in each.items() if "videos_per_second" not in k} for each in epochs]


def flip_a_byte(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest_file(folder: pathlib.Path) -> pathlib.Path:
    """Where most of a checkpoint's arrays are."""
    return max(folder.glob("tree/ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def finished(small_config, tmp_path_factory, quick_compile):
    """A finished run of JoMoLD, which tests copy."""
    workdir = tmp_path_factory.mktemp("jomold") / "W"
    run(small_config("jomold"), str(workdir), "train")
    return workdir


@pytest.fixture
def workdir(finished, tmp_path) -> pathlib.Path:
    """A copy of that run."""
    return shutil.copytree(finished, tmp_path / "W")


def again(small_config, workdir: pathlib.Path) -> None:
    run(small_config("jomold"), str(workdir), "train")


def assert_same_results(one: pathlib.Path, two: pathlib.Path) -> None:
    for stage in ("estimator", "denoise"):
        assert last_state(one, stage) == last_state(two, stage)
    first, second = (json.loads((each / "scores_test.json").read_text()) for each in (one, two))
    assert first.pop("weights") != second.pop("weights")
    assert first == second


# Asked to stop


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
    config.train.save_seconds = 3600.0
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_outside_training_ends_the_process_at_once(number, code):
    """Even in code that keeps Python's own handlers waiting."""
    program = "from avvp_jax import preemption; preemption.watch(); print(1, flush=True);" + BUSY
    result = killed(program, number)
    assert result.returncode == code
    assert result.stderr.read().count("\n") == 1


def test_a_second_signal_ends_a_training_at_once():
    program = (
        "from avvp_jax import preemption; preemption.watch()\n"
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


def test_a_signal_while_python_ends_leaves_the_exit_code_as_it_is():
    """Modules are torn down after Python has let go of its handlers, which takes JAX a second."""
    program = (
        "import os, signal\n"
        "from avvp_jax import preemption, processes\n"
        "class Late:\n"
        "  def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):\n"
        "    kill(process, number)\n"
        "late = Late()\n"
        "preemption.watch()\n"
        "processes.leave(75)"
    )
    assert started(program).wait(PATIENCE) == 75


def started(program: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], **pipes)


def killed(program: str, number: int) -> subprocess.Popen:
    """A program that was sent a signal once it had printed a line."""
    process = started(program)
    process.stdout.readline()
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
    return process


# Damage


@pytest.mark.parametrize("stage", ["estimator", "denoise"])
def test_a_damaged_best_model_is_made_anew_from_the_state(
    small_config, finished, workdir, capsys, stage
):
    (best,) = (workdir / stage / "best").iterdir()
    flip_a_byte(largest_file(best))
    again(small_config, workdir)
    assert f"warning: {best}: damaged checkpoint (its arrays are not" in capsys.readouterr().err
    assert sorted(p.name for p in best.parent.iterdir()) == [best.name, f"{best.name}.damaged"]
    assert_same_results(finished, workdir)


def test_a_damaged_last_state_is_trained_again_from_the_one_before(
    small_config, finished, workdir, capsys
):
    """Where its best model is damaged too; without it a finished stage is not asked for."""
    flip_a_byte(largest_file(workdir / "denoise/latest/4"))
    shutil.rmtree(workdir / "denoise/best")
    again(small_config, workdir)
    printed = capsys.readouterr()
    assert "denoise: going on after epoch 1" in printed.out
    assert printed.err.count("warning: ") == 1
    assert_same_results(finished, workdir)


def test_a_stage_without_an_undamaged_state_is_trained_again(
    small_config, finished, workdir, capsys
):
    for checkpoint in (workdir / "denoise").glob("*/*"):
        flip_a_byte(largest_file(checkpoint))
    again(small_config, workdir)
    assert "denoise: no undamaged state is left; training it again" in (
        capsys.readouterr().err.replace(f"{workdir}/", "")
    )
    assert_same_results(finished, workdir)


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_byte, cut, lambda path: path.write_bytes(b"")])
def test_a_damaged_artefact_is_made_anew(small_config, finished, workdir, capsys, damage):
    path = workdir / "ratios/noise_ratios.npz"
    before = np.load(path)["audio"]
    damage(path)
    again(small_config, workdir)
    printed = capsys.readouterr()
    assert f"warning: {path}: " in printed.err and "made anew" in printed.err
    assert path.with_name("noise_ratios.npz.damaged").exists()
    np.testing.assert_array_equal(np.load(path)["audio"], before)
    assert_same_results(finished, workdir)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_damage_in_weights_to_start_from_is_refused(small_config, workdir, tmp_path, mode):
    """Nothing is mended there, and nothing written where the run would be."""
    (best,) = (workdir / "denoise/best").iterdir()
    flip_a_byte(largest_file(best))
    config = small_config("jomold")
    config.init_from = str(workdir)
    before = sorted(workdir.rglob("*"))
    with pytest.raises(UserError, match="damaged checkpoint .its arrays are not those that were"):
        run(config, str(tmp_path / "new"), mode)
    assert sorted(workdir.rglob("*")) == before
    assert not list((tmp_path / "new").rglob("*"))


def test_a_torn_line_of_numbers_is_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    JsonWriter(str(tmp_path)).write_scalars(2, {"loss": 1.0})
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2, "loss": 1.0}']


def test_starting_weights_are_also_of_stages_that_begin_later(
    small_config, finished, tmp_path, monkeypatch
):
    """The run was interrupted before the second training began."""
    config, begun, workdir = small_config("jomold"), [], tmp_path / "W"
    config.init_from, config.stages = str(finished), ("estimator",)
    monkeypatch.setattr(
        avvp_jax.stages, "fit", lambda *_, start, **__: begun.append(start() is not None)
    )
    run(config, str(workdir), "train")
    (workdir / "estimator/latest/2").mkdir(parents=True)
    run(config, str(workdir), "train")
    assert begun == [True, True]


# Refused


def test_a_second_training_in_a_work_directory_is_refused(small_config, workdir):
    """Until the first one's process ends, however; other modes can be used meanwhile."""

    def files() -> list:
        # Every process that logs adds a file for TensorBoard.
        return [path for path in sorted(workdir.rglob("*")) if "tensorboard" not in path.parts]

    before = files()
    program = (
        "import time; from avvp_jax.locks import lock\n"
        f"with lock({str(workdir / '.lock')!r}): print(1, flush=True); time.sleep(600)"
    )
    process = started(program)
    process.stdout.readline()
    with pytest.raises(UserError, match=f"W: process {process.pid} on .* is training there"):
        again(small_config, workdir)
    run(small_config("jomold"), str(workdir), "eval")
    process.kill()
    process.wait()
    again(small_config, workdir)
    assert files() == before


def test_another_config_is_refused_before_data_are_prepared(small_config, workdir, tmp_path):
    config = small_config("jomold")
    config.data.data_dir, config.data.manual_dir = str(tmp_path / "D"), str(tmp_path / "none")
    config.schedule.learning_rate = 1.0
    with pytest.raises(UserError, match="another config: schedule.learning_rate was 0.0005"):
        run(config, str(workdir), "train")
    with pytest.raises(UserError, match="another config"):
        run(small_config("han"), str(workdir), "train")


def test_a_work_directory_that_cannot_be_written_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("/proc/W", str(tmp_path / "file"), str(tmp_path / "file/W")):
        with pytest.raises(UserError, match=f"--workdir={place}"):
            run(config, place, "train")


@pytest.mark.parametrize("name", ["scores_val.json", "per_video_val.csv"])
def test_a_folder_in_the_place_of_results_is_said_in_one_line(small_config, workdir, name):
    (workdir / name).unlink()
    (workdir / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a directory; make room or mend"):
        run(small_config("jomold"), str(workdir), "eval")


def test_a_full_disk_is_said_in_one_line_and_the_last_state_kept(config, tmp_path, monkeypatch):
    """Files may not grow beyond a size, from the second epoch's checkpoint on."""
    config.train.epochs = 3
    run(config, str(tmp_path / "whole"), "train")
    save, (soft, hard) = Checkpoints.save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(self, state, steps, **options):
        self._latest.wait_until_finished()
        if steps == 4:
            options["before"]()
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        save(self, state, steps, **options)

    monkeypatch.setattr(Checkpoints, "save", limited)
    try:
        with pytest.raises(UserError, match="checkpoints cannot be written .File too large.") as e:
            run(config, str(tmp_path / "W"), "train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(e.value)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "W/train/latest").glob("?")] == ["2"]
    run(config, str(tmp_path / "W"), "train")
    assert last_state(tmp_path / "W", "train") == last_state(tmp_path / "whole", "train")


def test_a_full_disk_ends_a_process_after_one_line(launch, config, tmp_path):
    """Other threads that write at that moment say nothing."""
    open_dataset(config.data)  # prepared before
    flags = ["--config=configs/han.py", *SMALL, f"--workdir={tmp_path}/W"]
    flags.append(f"--config.data.data_dir={config.data.data_dir}")

    no_cache = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # the process inherits it
    try:
        result = launch(*flags, extra=no_cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert "checkpoints cannot be written (File too large)" in result.stderr


def test_a_run_that_has_begun_stops_without_its_config(small_config, workdir):
    """It could be anybody's; put back, it goes on."""
    (workdir / "config.json").rename(workdir / "copy")
    before = sorted(workdir.rglob("*"))
    with pytest.raises(UserError, match="it has no config.json"):
        again(small_config, workdir)
    assert sorted(workdir.rglob("*")) == before
    (workdir / "copy").rename(workdir / "config.json")
    again(small_config, workdir)
    assert not list(workdir.rglob("*.damaged"))


def test_numbers_that_are_no_text_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe\n{}\ntorn")
    JsonWriter(str(tmp_path)).write_scalars(1, {"x": 2.0})
    assert path.read_bytes() == b'\xff\xfe\n{}\n{"step": 1, "x": 2.0}\n'


def test_a_lock_that_is_a_link_is_refused(small_config, workdir, tmp_path):
    """Nothing is written into what it leads to."""
    (tmp_path / "victim").write_text("mine")
    (workdir / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="lock: is not a file; remove it"):
        again(small_config, workdir)
    assert (tmp_path / "victim").read_text() == "mine"


# Diverging


@pytest.fixture
def fitted(config, tmp_path):
    """Fits seeds to nine videos after a change of features, or of one seed's target of a video."""
    dataset = open_dataset(config.data)
    train, val = (load_split(dataset, name, "base") for name in ("train", "val"))
    network = parser_network((128, 2048, 512), config.model.to_dict())

    def run_fit(seeds, change=lambda features: None, own_damage=None):
        features = {name: array.copy() for name, array in train.features.items()}
        change(features)
        changed = dataclasses.replace(train, features=features)
        own = [targets(train.weak_label.copy()) for _ in seeds]
        if own_damage:
            seed, row = own_damage
            own[seed]["video"][row, 0] = np.nan
        own = {"videos": {"targets": jax.tree.map(lambda *each: np.stack(each), *own)}}
        folder, arrays = str(tmp_path / "stage"), {"videos": {}, "shared": {}}
        given = config, folder, network, han.loss, arrays, changed, val, JsonWriter(str(tmp_path))
        fit.fit(*given, seeds=seeds, mesh=make_mesh(), own=own)
        return train

    return run_fit


def batch_with(train, row: int, seed: int, epoch: int) -> tuple[int, list[str]]:
    """The step, from 1, in which an epoch of a seed comes to a video, and the ids of its batch."""
    order = np.asarray(epoch_order(keys.root_key(seed), np.int32(epoch), len(train), 2, True))
    (step,) = np.flatnonzero((order == row).any(axis=1))
    return step + 1, [train.ids[row] for row in order[step]]


def test_divergence_names_the_videos_and_keeps_the_checkpoint_before(config, fitted, tmp_path):
    config.train.epochs = 1
    train = fitted([7])
    config.train.epochs = 3

    def damage(features):
        features["audio"][1, 3, 5] = np.nan

    step, ids = batch_with(train, 1, 7, epoch=2)
    for _ in range(2):  # it says so again, and would go on once the features are mended
        with pytest.raises(
            UserError,
            match=f"seed 7, epoch 2, step {step}: .* not finite on the videos {', '.join(ids)};",
        ):
            fitted([7], damage)
        assert [path.name for path in (tmp_path / "stage/latest").iterdir()] == ["2"]


def test_of_several_seeds_the_diverging_one_stops_alone(config, fitted, tmp_path, capsys):
    config.num_seeds = 2
    train = fitted([3, 4], own_damage=(1, 2))
    step, ids = batch_with(train, 2, 4, epoch=1)
    message = f"seed 4, epoch 1, step {step}: loss or gradient is not finite on the videos "
    message += f"{', '.join(ids)}; this seed stops there"
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and message in printed.err
    assert "epoch 2/2  1 seeds" in printed.out
