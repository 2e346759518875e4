"""Runs that are damaged, refused, or fill the disk. See also chaos.py."""

import errno
import json
import pathlib
import resource
import shutil
import zipfile

import numpy as np
import pytest

import avvp_jax.training.stages
from avvp_jax.data.prepared import open_dataset
from avvp_jax.errors import UserError
from avvp_jax.modes import run
from avvp_jax.reports.writers import JsonWriter
from avvp_jax.training.checkpoints import Checkpoints
from tests.launching import launch
from tests.programs import flags_of, started
from tests.run_files import last_state


def flip_a_byte(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest_file(folder: pathlib.Path) -> pathlib.Path:
    """Where most of a checkpoint's arrays are."""
    return max(folder.glob("tree/ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)


@pytest.fixture
def workdir(finished, tmp_path) -> pathlib.Path:
    """A copy of a finished run of JoMoLD."""
    return shutil.copytree(finished("jomold").workdir, tmp_path / "W")


def again(small_config, workdir: pathlib.Path) -> None:
    run(small_config("jomold"), str(workdir), "train")


def assert_same_results(one: pathlib.Path, two: pathlib.Path) -> None:
    for stage in ("estimator", "denoise"):
        assert last_state(one, stage) == last_state(two, stage)
    first, second = (json.loads((each / "scores_test.json").read_text()) for each in (one, two))
    assert first.pop("weights") != second.pop("weights")
    assert first == second


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
    assert_same_results(finished("jomold").workdir, workdir)


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
    assert_same_results(finished("jomold").workdir, workdir)


def test_a_stage_without_an_undamaged_state_is_trained_again(
    small_config, finished, workdir, capsys
):
    for checkpoint in (workdir / "denoise").glob("*/*"):
        flip_a_byte(largest_file(checkpoint))
    again(small_config, workdir)
    assert "denoise: no undamaged state is left; training it again" in (
        capsys.readouterr().err.replace(f"{workdir}/", "")
    )
    assert_same_results(finished("jomold").workdir, workdir)


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
    assert_same_results(finished("jomold").workdir, workdir)


@pytest.mark.parametrize("lack", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_an_artefact_that_cannot_be_read_now_is_kept(small_config, workdir, monkeypatch, lack):
    path = workdir / "ratios/noise_ratios.npz"
    before, parse = path.read_bytes(), zipfile.ZipFile

    def fail(content, *arguments):
        if content.getvalue() == before:
            raise lack
        return parse(content, *arguments)

    monkeypatch.setattr("avvp_jax.storage.reading.zipfile.ZipFile", fail)
    with pytest.raises(UserError, match=r"npz: cannot be read now \(\w[\w ]+\), and nothing"):
        again(small_config, workdir)
    assert path.read_bytes() == before and not list(path.parent.glob("*.damaged"))


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
    config.init_from, config.stages = str(finished("jomold").workdir), ("estimator",)
    monkeypatch.setattr(
        avvp_jax.training.stages, "fit", lambda job, _: begun.append(job.start() is not None)
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
        "import time; from avvp_jax.storage.locks import lock\n"
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


def test_a_page_that_cannot_be_written_is_a_warning(small_config, workdir, capsys):
    """It comes last, after a training of hours: the scores are written and printed."""
    (workdir / "report.html").unlink(missing_ok=True)
    (workdir / "report.html").mkdir()
    run(small_config("jomold"), str(workdir), "eval")
    out, err = capsys.readouterr()
    assert "not comparable with published scores" in out
    (line,) = [line for line in err.splitlines() if "report.html" in line]
    assert line.startswith("warning: ") and line.endswith("--mode=eval makes it again")


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


def test_a_full_disk_ends_a_process_after_one_line(config, tmp_path):
    """Other threads that write at that moment say nothing."""
    open_dataset(config.data)  # prepared before
    no_cache = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # the process inherits it
    try:
        result = launch(
            *flags_of(config), f"--workdir={tmp_path}/W", tensorflow=True, extra=no_cache
        )
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
