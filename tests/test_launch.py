"""launch.py as a user meets it: processes, exit codes, one-line errors, being killed."""

import json
import os
import pathlib
import signal

import numpy as np
import pytest

from avvp_jax.modes import run
from tests.held import start_held
from tests.launching import launch, start
from tests.programs import PATIENCE, flags_of, saved, wait_for


def scores(workdir: pathlib.Path) -> dict:
    result = json.loads((workdir / "scores_test.json").read_text())
    assert result.pop("weights") == str(workdir)
    return result


def test_train_then_eval_predict_and_export_without_a_config(config, tmp_path):
    workdir = tmp_path / "W"
    # TensorFlow imports matplotlib, which refuses to be imported with a backend that is not there.
    screen = {"MPLBACKEND": "of_a_notebook"}
    trained = launch(*flags_of(config), f"--workdir={workdir}", tensorflow=True, extra=screen)
    assert trained.returncode == 0, trained.stderr
    assert list(workdir.glob("tensorboard/events.*")) and "TensorFlow" not in trained.stdout
    assert "epoch 2/2  loss" in trained.stdout
    assert "HAN (paper, test)" in trained.stdout
    before = scores(workdir)
    again = launch(f"--workdir={workdir}", "--mode=eval")
    assert again.returncode == 0, again.stderr
    assert scores(workdir) == before
    assert launch(f"--workdir={workdir}", "--mode=predict").returncode == 0
    assert np.load(workdir / "predictions_val.npz")["global_prob"].shape == (2, 25)
    exported = tmp_path / "model.pt"
    out = launch(f"--workdir={workdir}", "--mode=export", f"--config.export_to={exported}")
    assert out.returncode == 2  # a network of another width than the published one
    assert "config.model.width" in out.stderr
    assert not exported.exists()


def test_a_run_killed_in_training_ends_as_one_that_was_not(config, tmp_path):
    """The run that was not killed is in this process."""
    config.train.epochs = 12
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = [*flags_of(config), f"--workdir={killed}"]
    process = start_held(*flags, moment="a state that is to be saved", of="train", count=6)
    wait_for(process, lambda: saved(killed / "train"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "scores_test.json").exists()
    resumed = launch(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch" in resumed.stdout
    run(config, str(whole), "train")
    assert scores(killed) == scores(whole)
    for workdir in (whole, killed):
        run(config, str(workdir), "predict")
    one, two = (np.load(workdir / "predictions_test.npz") for workdir in (whole, killed))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])


MISTAKES = {
    "no work directory": (["--config=configs/han.py"], "--workdir=DIR is missing"),
    "nothing trained": (["--workdir=W", "--mode=eval"], "config.json"),
    "unknown flag": (["--workdir=W", "--config=configs/han.py", "--speed=9"], "speed"),
    "unknown mode": (["--workdir=W", "--config=configs/han.py", "--mode=test"], "predict"),
    "two configs": (
        ["--workdir=W", "--config=configs/han.py", "--config", "configs/ma.py"],
        "--config is given 2 times (configs/han.py, configs/ma.py)",
    ),
    "no such config": (["--workdir=W", "--config=configs/nothing.py"], "configs/nothing.py"),
    "unknown variant": (["--workdir=W", "--config=configs/han.py:tiny"], "known: synthetic"),
    "unknown key": (
        ["--workdir=W", "--config=configs/han.py", "--config.train.epoch=3"],
        "--config.train.epoch=3: the config has no key 'epoch'; did you mean epochs?",
    ),
    "wrong type": (
        ["--workdir=W", "--config=configs/han.py", "--config.train.epochs=many"],
        "config.train.epochs=many",
    ),
    "unusable value": (
        ["--workdir=W", "--config=configs/han.py", "--config.train.batch_size=0"],
        "config.train.batch_size=0 must be a whole number from 1",
    ),
    "no data": (
        ["--workdir=W", "--config=configs/han.py", "--config.data.data_dir=D"],
        "--config=configs/han.py:synthetic",
    ),
    "no checkpoint": (
        ["--workdir=W", "--config=configs/han.py", "--mode=eval", "--config.init_from=x.pt"],
        "x.pt: no such checkpoint",
    ),
    "a config to compare by": (
        ["--mode=compare", "W1", "W2", "--config.train.epochs=3"],
        "--config.train.epochs=3: --mode=compare takes no config, only --config.report=FILE",
    ),
    "another part of the page": (
        ["--mode=compare", "W1", "W2", "--config.report.videos=V"],
        "--config.report.videos=V: --mode=compare takes no config",
    ),
    "no folder for the page": (
        ["--mode=compare", "W1", "W2", "--config.report", "/nowhere/page.html"],
        "--config.report=/nowhere/page.html: cannot be written",
    ),
    "no place to export to": (
        ["--workdir=W", "--config=configs/han.py", "--mode=export"],
        "--config.export_to",
    ),
}


@pytest.mark.parametrize("arguments", [[], ["--flagfile="], ["--mode=eval"]], ids=str)
def test_too_little_is_said_in_one_line(arguments):
    result = launch(*arguments)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--workdir=DIR is missing" in result.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_exit_code_2_and_one_line(tmp_path, mistake):
    arguments, message = MISTAKES[mistake]
    places = {"--workdir=W": f"--workdir={tmp_path}/W", "--config.data.data_dir=D": None}
    places["--config.data.data_dir=D"] = f"--config.data.data_dir={tmp_path}/D"
    result = launch(*(places.get(argument, argument) for argument in arguments))
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


FLAG_FILES = {
    "missing": ({}, "No such file"),
    "missing within": ({"a": "--flagfile=b"}, "No such file"),
    "a folder": ({"a": "--flagfile=."}, "Is a directory"),
    "itself": ({"a": "--config=configs/han.py\n--flagfile=a"}, "circular"),
    "itself in two steps": ({"a": "--flagfile=b", "b": "--flagfile=a"}, "circular"),
    "junk": ({"a": b"--config=configs/han.py\n\xff\xfe"}, "can't decode"),
    "zeros": ({"a": b"--config=configs/han.py\n--workdir=\0"}, "not a text file"),
}


@pytest.mark.parametrize("case", FLAG_FILES)
def test_a_file_of_flags_that_cannot_be_read_is_refused(case, tmp_path):
    files, message = FLAG_FILES[case]
    for name, content in files.items():
        text = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(text.replace(b"flagfile=", b"flagfile=%s/" % bytes(tmp_path)))
    result = launch(f"--workdir={tmp_path}/W", "-flagfile", f"{tmp_path}/a")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"-flagfile {tmp_path}/a: cannot be read" in result.stderr and message in result.stderr


@pytest.mark.parametrize("given", ["--flagfile={}", "-flagfile {}", "--flagfile {}"])
def test_a_config_may_be_named_in_a_file_of_flags(given, tmp_path):
    """Also where that can be read only once, as what a shell substitutes for a process."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("\ufeff# the method\n--config configs/han.py\n--config.seed=x\n")
    os.mkfifo(outer)
    process = start(f"--workdir={tmp_path}/W", *given.format(outer).split())
    outer.write_text(f"--flagfile={inner}\n")
    _, error = process.communicate(PATIENCE)
    assert (process.returncode, error.count("\n")) == (2, 1)
    assert "flag --config.seed=x: invalid literal" in error


def test_help_is_printed_wherever_it_is_asked_for():
    for arguments in (["--help"], ["--config", "configs/han.py", "--help"]):
        helped = launch(*arguments)
        assert helped.stdout.startswith("Trains, evaluates, predicts with and exports parsers")
        assert "--workdir" in helped.stdout and not helped.stderr
