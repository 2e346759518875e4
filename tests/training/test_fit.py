"""A training stage: what of the config reaches the trainer, selection and the log."""

import jax
import numpy as np
import pytest

import avvp_jax.training.validation
from avvp_jax.data.prepared import open_dataset
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.methods.han import stages as han
from avvp_jax.methods.targets import targets
from avvp_jax.metrics.events import Decision, predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.nn.functional import parser_network
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP
from avvp_jax.training.checkpoints import restore_best
from avvp_jax.training.fit import fit
from avvp_jax.training.job import Data, Job, Model
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.selection import add_seeds_axis, no_best, take_seed
from avvp_jax.training.state import BatchArrays
from tests.compilation import compiled_anew
from tests.on_devices import Recorder


class Checked(Recorder):
    """A writer that remembers scalars by epoch, and expects an overview of parameters."""

    def write_texts(self, step, texts):
        assert "fc_prob" in texts["parameters"]


@pytest.fixture
def fitted(config, tmp_path):
    """Fits the nine videos; returns what was logged and the splits."""
    dataset = open_dataset(config.data)
    train, val = (load_split(dataset, name, data_spec("base")) for name in ("train", "val"))
    network = parser_network((128, 2048, 512), len(LLP.classes), config.model.to_dict())

    def run(folder="stage"):
        recorder = Checked()
        path, model = str(tmp_path / folder), Model(network, han.loss, network)
        data = Data(train, val, BatchArrays({"targets": targets(train.weak_label)}))
        fit(Job(config, path, model, data, [config.seed], make_mesh()), recorder)
        shapes = add_seeds_axis(no_best(network.shapes(), config.eval.select), 1)
        variables, epoch, _ = take_seed(restore_best(path, shapes), 0)
        return recorder.epochs, epoch, variables, network, val

    return run


@pytest.mark.parametrize("video_filter", ["global", "per_modality"])
def test_validation_uses_the_methods_own_filter_and_thresholds(config, fitted, video_filter):
    config.eval.video_filter, config.eval.select = video_filter, "last"
    config.schedule.learning_rate = 0.01
    config.train.epochs = 6
    config.eval.segment_threshold, config.eval.video_threshold = 0.3, 0.4
    logged, epoch, variables, network, val = fitted()
    assert epoch == 6
    decision = Decision(video_filter, 0.3, 0.4)
    probs = Predictor(network, decision, 4, make_mesh()).predict(variables, val.features)
    expected = scores(predicted_segments(probs, decision), val.truth > 0)
    for name, value in expected.items():
        np.testing.assert_allclose(logged[6][f"val/{name}"], value, atol=1e-4)


@pytest.mark.parametrize(("ties", "chosen"), [("later", 3), ("earlier", 1)])
def test_selection_and_ties_are_the_configs(config, fitted, ties, chosen):
    config.eval.ties, config.train.epochs = ties, 3
    config.schedule.learning_rate = 1e-12  # every epoch scores the same
    assert fitted()[1] == chosen


def test_the_selected_score_is_the_configs(config, fitted, monkeypatch):
    """Epochs 1, 2, 3 are best in turn, each in another score."""
    columns = {"segment/audio": 1, "segment/visual": 2, "event/event": 3}
    config.train.epochs = 3
    chosen = avvp_jax.training.validation.selection_score

    def scripted(select, scores, epoch, names):
        ten = [jax.numpy.float32(epoch == columns.get(name)) for name in NAMES]
        return chosen(select, jax.numpy.stack(ten), epoch, names)

    monkeypatch.setattr(avvp_jax.training.validation, "selection_score", scripted)
    compiled_anew(monkeypatch, "avvp_jax.training.validation", "_compiled_selection")
    for name, epoch in columns.items():
        config.eval.select = name
        assert fitted(name.replace("/", "-"))[1] == epoch


def test_shuffling_and_the_logged_learning_rate_are_the_configs(config, fitted):
    config.schedule.every_epochs, config.model.dropout = 1, 0.0
    shuffled = fitted("shuffled")[0]
    config.train.shuffle = False
    ordered = fitted("ordered")[0]
    assert shuffled[1]["train/loss"] != ordered[1]["train/loss"]
    rates = [ordered[epoch]["train/learning_rate"] for epoch in (1, 2)]
    np.testing.assert_allclose(rates, [3e-4, 3e-5], rtol=1e-5)


def test_a_diverging_loss_stops_the_run(config, fitted):
    config.schedule.learning_rate = 1e30
    with pytest.raises(
        UserError,
        match="epoch ., step .: loss or gradient is not finite on the videos .*; training",
    ):
        fitted()
