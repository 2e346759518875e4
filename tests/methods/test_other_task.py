"""Methods of each kind on a made-up task: seven classes in six segments of two seconds.

Every method trains on such a task in tests/modes/test_own_folder.py.
"""

import csv
import json
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
from ml_collections import ConfigDict

import avvp_jax
from avvp_jax.data.dataset import Dataset
from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import NAMES
from avvp_jax.modes import run
from avvp_jax.task import MODALITIES
from tests.metrics import plain_scores
from tests.programs import still
from tests.tfds_llp.other_task import CHIMES

METHODS = {
    "han": ("han", ""),
    "dhhn": ("dhhn", "refinement"),
    "valor_plus_plus": ("valor", "plus_plus"),
}


class Trained(NamedTuple):
    """A finished run, also of its predictions."""

    name: str
    config: ConfigDict
    workdir: pathlib.Path


@pytest.fixture(scope="module", params=METHODS)
def trained(request, small_config, other_tasks, tmp_path_factory) -> Trained:
    config = small_config(*METHODS[request.param])
    config.data.dataset, config.data.data_dir = "llp/chimes", str(other_tasks)
    config.data.manual_dir = ""
    still(config)
    workdir = tmp_path_factory.mktemp(request.param) / "W"
    run(config, str(workdir), "train")
    run(config, str(workdir), "predict")
    return Trained(request.param, config, workdir)


def test_scores_are_those_of_a_plain_count(trained):
    truth = Dataset(trained.config.data).split("test").truth > 0
    assert truth.shape[1:] == (6, 2, 7)
    probs = dict(np.load(trained.workdir / "predictions_test.npz"))
    predicted = plain_scores.predicted(probs, trained.config.eval.video_filter)
    scores = json.loads((trained.workdir / "scores_test.json").read_text())
    expected = plain_scores.ten(predicted, truth)
    assert {name: scores[name] for name in NAMES} == pytest.approx(expected, abs=1e-9)


def test_tables_and_events_name_its_classes_and_seconds(trained):
    table = (trained.workdir / "per_class_test.txt").read_text()
    assert all(name in table for name in CHIMES.classes) and "Speech" not in table
    probs = dict(np.load(trained.workdir / "predictions_test.npz"))
    predicted = plain_scores.predicted(probs, trained.config.eval.video_filter)
    for index, modality in enumerate(MODALITIES):
        with open(trained.workdir / f"events_test_{modality}.csv") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        lasting = sum(int(row["offset"]) - int(row["onset"]) for row in rows)
        assert lasting == 2 * predicted[:, :, index].sum()
        assert {row["event_labels"] for row in rows} <= set(CHIMES.classes)


def test_a_work_directory_knows_its_task(trained):
    record = json.loads((trained.workdir / "config.json").read_text())
    assert record["task"] == CHIMES.to_json()
    parser = avvp_jax.load(trained.workdir)
    split = Dataset(trained.config.data).split("test")
    names = (stream.name for stream in split.spec.streams)
    rows = split.features.take(np.arange(len(split)))
    prediction = parser.predict(dict(zip(names, rows.values(), strict=True)))
    assert prediction.segments.shape == (len(split), 6, 2, 7)
    stored = np.load(trained.workdir / "predictions_test.npz")["frame_prob"]
    np.testing.assert_allclose(prediction.frame_prob, stored, rtol=0, atol=1e-6)


def test_weights_of_another_task_are_refused(trained, small_config, tmp_path):
    other = small_config(*METHODS[trained.name])
    other.init_from = str(trained.workdir)
    with pytest.raises(UserError, match="another task"):
        run(other, str(tmp_path / "W"), "eval")


def test_streams_of_another_width_train(small_config, other_tasks, tmp_path):
    config = small_config("valor", "plus_plus")
    config.data.dataset, config.data.data_dir = "llp/clip_b32", str(other_tasks)
    config.data.manual_dir = ""
    run(config, str(tmp_path / "W"), "train")
    record = json.loads((tmp_path / "W/config.json").read_text())
    assert record["widths"] == {"clap": 768, "clip": 512, "r2plus1d": 512}
    run(config, str(tmp_path / "W"), "eval")
