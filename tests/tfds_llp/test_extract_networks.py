"""Extraction with networks, reduced ones: what files hold is theirs of the published frames."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from avvp_jax.api import TrainedParser
from avvp_jax.encoders import log_mel
from avvp_jax.encoders.features import features_of, program_of
from avvp_jax.encoders.published import ENCODERS, Encoder
from avvp_jax.errors import UserError
from avvp_jax.experiment.weights import Weights
from avvp_jax.media.windows import Wanted, whole
from avvp_jax.methods import METHODS
from avvp_jax.nn.functional import make_network
from avvp_jax.storage.feature_files import read_features
from avvp_jax.streams import STREAM_SETS, data_spec, streams_of
from avvp_jax.task import LLP
from tests.encoders import networks as net
from tests.encoders.weight_files import file_of
from tests.media.clips import crcs, golden, path_of
from tests.short_clips import variables_of
from tests.tfds_llp.extracting import extract, report_of


@pytest.fixture
def small_encoders(monkeypatch, tmp_path):
    """Files of weights for the encoders' reduced networks."""

    def network(self, *arithmetic):
        case = net.SMALL[self.stream]
        return make_network(case.kind, *case.arguments)

    monkeypatch.setattr(Encoder, "network", network)
    program_of.cache_clear()
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, case in net.SMALL.items():
        (folder / ENCODERS[name].names[0]).write_bytes(file_of(case.state(), "zip"))
    yield folder
    program_of.cache_clear()


@pytest.mark.golden
def test_features_are_the_networks_of_the_published_frames_and_sound(small_encoders, tmp_path):
    clip = "ntsc_stereo441"
    (tmp_path / "V").mkdir()
    shutil.copy(path_of(clip), tmp_path / "V")
    data, weights = tmp_path / "DATA", f"--weights_dir={small_encoders}"
    assert extract(tmp_path / "V", data, weights, streams="base") == 0

    window = whole(path_of(clip), Wanted(LLP, fidelity="published"))
    assert crcs(window.pictures["resnet"]) == list(golden()[clip]["resnet_crop_crc"])
    squares = window.pictures["r2plus1d"]
    inputs = {
        "vggish": log_mel.log_mels(window.sound),
        "resnet152": window.pictures["resnet"],
        "r2plus1d": squares.reshape(10, 8, *squares.shape[1:]),
    }
    rows = {"vggish": 10, "resnet152": 80, "r2plus1d": 10}
    for stream in streams_of(STREAM_SETS["base"], {}):
        made = np.load(data / stream.folder / f"{clip}.npy")
        some = np.arange(0, rows[stream.name], rows[stream.name] // 2)
        variables = net.SMALL[stream.name].variables()
        expected = features_of(stream.name, variables, inputs[stream.name][some])
        assert made.dtype == np.float32 and len(made) == rows[stream.name]
        np.testing.assert_allclose(made[some], expected, rtol=1e-4, atol=1e-5)
        width = {stream.name: made.shape[1]}
        (of_width,) = streams_of([stream.name], width)
        pooled = read_features(data / stream.folder / f"{clip}.npy", of_width, LLP)
        assert pooled.shape == (10, made.shape[1])
    assert sorted(path.name for path in (data / "feats").iterdir()) == [
        "r2plus1d_18", "res152", "vggish",
    ]  # fmt: skip
    assert {row["status"] for row in report_of(data).values()} == {"made"}

    assert_parsed_as_its_files(path_of(clip), data, small_encoders)

    with (small_encoders / ENCODERS["vggish"].names[0]).open("wb") as file:
        state = net.SMALL["vggish"].state()
        file.write(file_of({name: x * np.float32(2) for name, x in state.items()}, "zip"))
    with pytest.raises(UserError, match="vggish were made with weights=.*choose another folder"):
        extract(tmp_path / "V", data, weights, streams="base")


def assert_parsed_as_its_files(video, data, weights_dir):
    """A parser that reads frames says the same of a video and of the features made of it."""
    streams = streams_of(STREAM_SETS["base_frames"], {})
    rows = {x.encoded: np.load(data / x.folder / f"{Path(video).stem}.npy") for x in streams}
    widths = {x.name: rows[x.encoded].shape[1] for x in streams}
    layout, spec = METHODS["cmpae"].layout, data_spec("base_frames", LLP, widths)
    small = {**layout.model, "width": 16, "feed_forward": 16}
    network = dataclasses.replace(layout, model=small).network(spec)
    parser = TrainedParser(network, Weights(variables_of(network)), spec, layout.decision)
    found, expected = parser.parse(video, weights_dir=weights_dir), parser.predict(rows)
    np.testing.assert_allclose(found.probs["frame_prob"], expected.frame_prob[0], atol=1e-5)
    pooled = rows["resnet152"].reshape(10, 8, -1).mean(axis=1)
    with pytest.raises(UserError, match="averages over the frames of each segment"):
        parser.predict(rows | {"resnet152": pooled})


def test_missing_weights_are_said_before_anything_is_written(tmp_path):
    (tmp_path / "V").mkdir()
    (tmp_path / "V/x.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="has no vggish.*--download"):
        extract(tmp_path / "V", tmp_path / "DATA", f"--weights_dir={tmp_path}/none", streams="base")
    assert not (tmp_path / "DATA").exists()
