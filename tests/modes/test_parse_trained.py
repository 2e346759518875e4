"""From made-up video files through training to the events of a new one, in one small run."""

import json

import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.experiment.records import recall
from avvp_jax.modes import run
from avvp_jax.task import SYNTHETIC_VIDEOS
from configs.han import get_config
from tfds_llp import synthetic_videos
from tfds_llp.synthetic_clips import Clip

FEW = {"train": 6, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A small HAN that was trained for an epoch on few videos."""
    root = tmp_path_factory.mktemp("made_up")
    config = get_config("synthetic_videos")
    config.data.data_dir = str(root / "tfds")
    config.train.epochs, config.train.batch_size, config.train.steps_per_call = 1, 2, 3
    config.model.width = config.model.feed_forward = 32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_videos, "SIZES", FEW)
        assert run(config, str(root / "W"), "train") == 0
    return root / "W"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("new") / "new.mp4"
    Clip(0, "new", 0, 23).film(path)
    return path


def test_the_parser_of_a_work_directory_parses_a_video(workdir, video, capsys):
    config = recall(str(workdir))
    assert config.extract.fidelity == "direct"
    config.parse.hop = 5.0
    assert run(config, str(workdir), "parse", [str(video)]) == 0
    assert "new (23" in capsys.readouterr().out
    record = json.loads((workdir / "parses" / "new.json").read_text())
    assert [window["start"] for window in record["windows"]] == pytest.approx(
        [0, 5, 10, 13], abs=0.1
    )
    assert set(record["windows"][0]["global_prob"]) == set(SYNTHETIC_VIDEOS.classes)
    assert record["model"]["method"] == config.method and record["model"]["epoch"] == 1
    assert record["model"]["weights"] == str(workdir) and record["versions"]["jax"]
    with np.load(workdir / "parses" / "new.npz") as arrays:
        assert arrays["frame_prob"].shape == (23, 2, 8)


def test_python_and_the_command_find_the_same(workdir, video):
    config = recall(str(workdir))
    config.parse.hop = 5.0
    run(config, str(workdir), "parse", [str(video)])
    parse = load(str(workdir)).parse(video, hop=5.0)
    with np.load(workdir / "parses" / "new.npz") as arrays:
        np.testing.assert_allclose(parse.probs["frame_prob"], arrays["frame_prob"], atol=1e-6)
        assert (parse.segments == arrays["segments"]).all()
