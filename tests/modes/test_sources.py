"""A run and the files that its data was prepared from: what happens when they change."""

import json
import shutil

import numpy as np
import pytest

from avvp_jax.data.dataset import Dataset
from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import NAMES
from avvp_jax.modes import run
from avvp_jax.modes.compare import compare
from tests.tfds_llp.published_folder import replace_text


@pytest.fixture
def changed(config, finished, published_folder, tmp_path):
    """A copy of a finished run and of its data, for tests to change: (config, workdir, folder)."""
    folder = shutil.copytree(published_folder, tmp_path / "DATA")
    config.data.manual_dir, config.data.data_dir = str(folder), str(tmp_path / "tfds")
    workdir = shutil.copytree(finished("han").workdir, tmp_path / "W")
    return config, workdir, folder


def scores(workdir, split="test"):
    return json.loads((workdir / f"scores_{split}.json").read_text())


def anew(folder):
    path = folder / "feats/vggish/trainvideo1.npy"
    np.save(path, np.load(path)[::-1])


def test_a_run_goes_on_with_a_copy_of_its_files(changed):
    config, workdir, folder = changed
    before = scores(workdir)
    run(config, str(workdir), "train")
    assert scores(workdir) == before | {"weights": str(workdir)}
    record = json.loads((workdir / "config.json").read_text())["data"]
    assert set(record["content"]) == {"train", "val", "test"} and record["source"]["annotations"]


CHANGES = {
    "AVVP_train.csv": lambda folder: replace_text(folder / "AVVP_train.csv", "Banjo", "Cello"),
    "AVVP_eval_visual.csv": lambda folder: replace_text(
        folder / "AVVP_eval_visual.csv", "\t1\t5", "\t0\t5"
    ),
    "feats/vggish: other names, sizes or times": anew,
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_run_goes_on_with_the_data_that_it_began_with(changed, words, capsys):
    config, workdir, folder = changed
    Dataset(config.data)  # prepares what the run was trained on
    before, record = scores(workdir), (workdir / "config.json").read_text()
    CHANGES[words](folder)
    capsys.readouterr()
    run(config, str(workdir), "train")
    said = capsys.readouterr().out
    assert f"{folder}: not what this run was trained on ({words}" in said
    assert "choose a new --workdir" in said
    assert scores(workdir) == before | {"weights": str(workdir)}
    assert (workdir / "config.json").read_text() == record


@pytest.mark.parametrize("words", CHANGES)
def test_a_run_is_not_continued_where_its_data_are_lost(changed, words):
    config, workdir, folder = changed
    CHANGES[words](folder)
    record = (workdir / "config.json").read_text()
    with pytest.raises(UserError, match="W was trained on other files than there are now") as said:
        run(config, str(workdir), "train")
    assert words in str(said.value) and "choose a new --workdir" in str(said.value)
    assert (workdir / "config.json").read_text() == record


def test_other_modes_use_the_files_of_now_and_say_so(changed, capsys):
    config, workdir, folder = changed
    run(config, str(workdir), "eval")
    assert "other files" not in capsys.readouterr().err
    before = scores(workdir)
    replace_text(folder / "AVVP_eval_visual.csv", "\t0\t10\tCar", "\t0\t2\tCar")
    for mode in ("eval", "predict"):
        run(config, str(workdir), mode)
        said = capsys.readouterr().err
        assert "W was trained on other files than these (AVVP_eval_visual.csv" in said
    after = scores(workdir)
    assert after["truth"] != before["truth"] and after["videos"] == before["videos"]


def test_scores_of_fewer_videos_are_marked_wherever_they_stand(changed, capsys, finished):
    config, workdir, folder = changed
    (folder / "feats/vggish/testvideo02.npy").unlink()
    config.data.allow_missing_features = True
    run(config, str(workdir), "eval")
    lines = capsys.readouterr().out.splitlines()
    row, _ = [
        line for line in lines if line.startswith("test (2 of 3 videos)")
    ]  # and of whole videos
    assert any(line.startswith("test: 2 of 3 videos, because") for line in lines)
    assert not any(line.startswith("val (") for line in lines)
    assert any(line.startswith("val: its csv names 2 videos, LLP's 649;") for line in lines)
    assert any(line.startswith("HAN (paper, test)") for line in lines)
    for split, videos, annotated in (("test", 2, 3), ("val", 2, 2)):
        found = scores(workdir, split)
        assert (found["videos"], found["annotated"]) == (videos, annotated)
    assert [f"{scores(workdir)[name]:.1f}" for name in NAMES] == row.split(")")[1].split()
    text = compare([str(workdir), str(finished("han").workdir)])
    assert f"{workdir} (1 seed; test of llp/base, 2 of 3 videos" in text and "not tested" in text
