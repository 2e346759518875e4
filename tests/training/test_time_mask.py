"""Clips of any length through training, validation and prediction."""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import avvp_jax
from avvp_jax.data.dataset import Dataset
from avvp_jax.errors import UserError
from avvp_jax.methods import stages_of
from avvp_jax.modes import run
from avvp_jax.nn import time_mask
from avvp_jax.streams import data_spec
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.selection import no_best
from avvp_jax.training.stages import Training
from avvp_jax.training.state import init_state
from avvp_jax.training.step import make_step
from tests.run_files import last_state, weights_of
from tests.tfds_llp.short_videos import LENGTHS, prepare_short
from tests.weights import assert_same_training

pytestmark = pytest.mark.usefixtures("on_a_cpu")


def lowered_steps(config: ConfigDict, **more: np.ndarray) -> list[str]:
    """The training step of each stage, lowered for batches with `more` in them."""
    spec, videos, texts = data_spec(config.data.streams), 3, []
    classes, shape = len(spec.task.classes), (videos, spec.task.segments)
    label, by_segment = np.zeros((videos, classes), "f4"), np.zeros((*shape, classes), "f4")
    batch = {
        "features": {r: np.zeros((*shape, x.width), "f4") for r, x in spec.roles.items()},
        "targets": dict.fromkeys(("audio", "visual", "video", "audio_net", "video_net"), label),
        "pseudo_label": {"audio": by_segment, "visual": by_segment},
        "removal_counts": dict.fromkeys(("audio", "visual"), np.zeros((1, classes, 4), np.int32)),
        "weight": np.ones(videos, np.float32),
        "step": np.int32(0),
    }
    for stage in (stage for stage in stages_of(config) if isinstance(stage, Training)):
        settings, network = stage.settings(config), stage.trained_network(config, spec)
        optimizer = make_optimizer(settings.optimizer)
        step = make_step(network, stage.loss, optimizer)

        def start(variables, optimizer=optimizer):
            return init_state(optimizer, variables, no_best(variables, "last"))

        state = jax.eval_shape(start, network.shapes())
        rates = make_schedule(settings.schedule, 2)(1)
        # Another function each time, which JAX has not traced before.
        traced = jax.jit(lambda *given, step=step: step(*given))
        texts.append(traced.lower(state, batch | more, keys.root_key(0), rates).as_text())
    return texts


@pytest.mark.parametrize("method", ["han", "jomold", "dhhn", "mm_cse"])
def test_programs_of_whole_clips_are_those_that_know_of_no_mask(method, small_config, monkeypatch):
    config = small_config(method)
    whole = lowered_steps(config)
    if method == "han":  # that masks are in the others' programs, their losses' tests say
        assert lowered_steps(config, lengths=np.array([10, 3, 1])) != whole
    known = {"present": lambda *_, **__: None, "cleared": lambda arrays, _: arrays}
    patched = 0
    for module in [x for name, x in sys.modules.items() if name.startswith("avvp_jax.")]:
        for name, without in known.items():
            if getattr(module, name, None) is getattr(time_mask, name) and module is not time_mask:
                monkeypatch.setattr(module, name, without)
                patched += 1
    assert patched > 8
    assert lowered_steps(config) == whole


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> dict[bool, pathlib.Path]:
    """Whether there is garbage behind the clips' ends -> the data_dir of llp/short_chimes."""
    root = tmp_path_factory.mktemp("short")
    return {garbage: prepare_short(root / str(garbage), garbage) for garbage in (False, True)}


def trained(config: ConfigDict, data_dir: pathlib.Path, workdir: pathlib.Path) -> dict:
    """A run's predictions of test."""
    config.data.dataset, config.data.data_dir = "llp/short_chimes", str(data_dir)
    config.data.manual_dir = ""
    for section in [config, config.base] if "base" in config else [config]:
        section.train.epochs = 1
    run(config, str(workdir), "train")
    run(config, str(workdir), "predict")
    return dict(np.load(workdir / "predictions_test.npz"))


# Those that label or estimate from the same arrays, and one with teachers' labels. What others'
# losses and networks make of garbage is in tests/methods and tests/nn.
METHODS = {"jomold": "denoise", "valor": "train", "dhhn": "train"}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_behind_the_ends_of_clips_changes_nothing(
    method, small_config, short, tmp_path, monkeypatch
):
    """All stages, with their validation and their labels, to the last bit."""
    known = Predictor._predict_part

    def with_lengths(self, variables, features, lengths):
        assert lengths is not None  # in estimation too, whose labels may be the same without
        return known(self, variables, features, lengths)

    monkeypatch.setattr(Predictor, "_predict_part", with_lengths)
    found = [
        trained(small_config(method), short[garbage], tmp_path / str(garbage))
        for garbage in (False, True)
    ]
    for name, x in found[0].items():
        np.testing.assert_array_equal(x, found[1][name], err_msg=name)
    stage = METHODS[method]
    # The two runs' configs differ in their data; what they trained does not.
    states = [last_state(tmp_path / str(garbage), stage) for garbage in (False, True)]
    assert states[0] == states[1]
    for row, length in enumerate(LENGTHS["test"]):
        assert found[0]["frame_prob"][row, :length].all()
        assert not found[0]["frame_prob"][row, length:].any()


def test_lengths_come_with_features_from_disk_too(small_config, short, tmp_path, monkeypatch):
    monkeypatch.setattr("avvp_jax.data.features.PART_VIDEOS", 1)
    models, probs = [], []
    for feed in ("device", "stream"):
        config, workdir = small_config("jomold"), tmp_path / feed
        config.data.feed, config.train.steps_per_call = feed, 1
        probs.append(trained(config, short[feed == "stream"], workdir))
        models.append(jax.device_get([weights.variables for weights in weights_of(workdir)]))
    assert_same_training(*models, moved=3e-4 * 2)
    np.testing.assert_allclose(probs[0]["frame_prob"], probs[1]["frame_prob"], atol=1e-3)


def test_a_loaded_parser_takes_lengths(small_config, short, tmp_path):
    config = small_config("han")
    stored = trained(config, short[True], tmp_path / "W")
    assert json.loads((tmp_path / "W/config.json").read_text())["any_length"] is True
    parser, split = avvp_jax.load(tmp_path / "W"), Dataset(config.data).split("test")
    names = (stream.name for stream in split.spec.streams)
    rows = split.features.take(np.arange(len(split)))
    features = dict(zip(names, rows.values(), strict=True))
    prediction = parser.predict(features, list(LENGTHS["test"]))
    np.testing.assert_allclose(prediction.frame_prob, stored["frame_prob"], atol=1e-6)
    one = parser.predict({name: x[0] for name, x in features.items()}, 2)
    np.testing.assert_allclose(one.frame_prob, prediction.frame_prob[:1], atol=1e-6)
    assert not one.segments[0, 2:].any()
    for wrong in ([2, 5], [0, 5, 6], [2, 5, 7], [2.0, 5, 6], "no", [[2, 5, 6]], [2, [5], 6]):
        with pytest.raises(UserError, match="lengths"):
            parser.predict(features, wrong)
