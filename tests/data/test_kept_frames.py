"""Streams that keep the frames of a segment: from files through training to predictions."""

import jax
import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.data.dataset import Dataset
from avvp_jax.data.prepared import load_features
from avvp_jax.errors import UserError
from avvp_jax.methods.cmpae.method import LAYOUT
from avvp_jax.modes import run
from avvp_jax.nn.functional import make_network, parser_network
from avvp_jax.storage.feature_files import read_features
from avvp_jax.storage.feature_kinds import lengths_of
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import STREAMS, data_spec, pool_to_segments
from avvp_jax.task import LLP
from tests.short_clips import variables_of

FRAMES = STREAMS["resnet152_frames"]


def test_frames_stand_side_by_side_in_the_row_of_their_segment():
    rows = np.arange(2 * 80 * 2048, dtype=np.float64).reshape(2, 80, 2048)
    kept = pool_to_segments(FRAMES, LLP, rows)
    assert kept.shape == (2, 10, 8 * 2048) and kept.dtype == np.float32
    np.testing.assert_array_equal(kept[1, 3, 2048:4096], rows[1, 3 * 8 + 1].astype(np.float32))
    np.testing.assert_array_equal(pool_to_segments(FRAMES, LLP, kept), kept)
    averages = kept.reshape(2, 10, 8, 2048).mean(axis=2)
    np.testing.assert_allclose(averages, pool_to_segments(STREAMS["resnet152"], LLP, rows))
    assert data_spec("base_frames").video_bytes == 4 * 10 * (128 + 8 * 2048 + 512)


def test_averages_of_frames_are_refused_by_what_they_are(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((10, 2048), np.float32))
    with pytest.raises(DamagedFile, match="averages over the frames of each segment"):
        read_features(tmp_path / "a.npy", FRAMES, LLP)
    with pytest.raises(UserError, match="not \\[10, 2048\\]"):
        pool_to_segments(FRAMES, LLP, np.ones((10, 2048)))
    assert lengths_of(FRAMES, LLP, (8, 2048)) == (1,)  # of an average, it might be eight segments


@pytest.mark.parametrize("kind", ["evidence", "parser"])
def test_a_network_reads_frames_however_their_axes_stand(kind, small_model):
    widths = (6, 7, 5)
    if kind == "parser":
        network = parser_network(widths, 4, small_model)
    else:
        network = make_network(LAYOUT.parser, widths, 4, **{**LAYOUT.model, **small_model})
    rng = np.random.default_rng(0)
    features = {
        role: rng.standard_normal((2, 10, width), np.float32)
        for role, width in zip(("audio", "snippet"), (6, 5), strict=True)
    }
    frames = rng.standard_normal((2, 10, 8, 7), np.float32)
    parse = jax.jit(network.module(variables_of(network)))
    one, other, averaged = (
        parse(features | {"visual": x})
        for x in (frames, frames.reshape(2, 10, 56), frames.mean(axis=2))
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)
    difference = np.abs(one["visual_prob"] - averaged["visual_prob"]).max()
    assert difference < 1e-5 if kind == "parser" else difference > 1e-3


@pytest.fixture(scope="module")
def trained(finished):
    return finished("cmpae")


def test_a_run_trains_on_frames_and_leaves_what_it_says(trained, published_folder):
    """All four stages, from published files; val and test are scored."""
    there = {path.name for path in trained.workdir.iterdir()}
    assert {"estimator", "ratios", "train", "thresholds", "scores_test.json"} <= there
    split = Dataset(trained.config.data).split("test")
    assert split.features.shapes["visual"] == (10, 8 * 2048)
    raw = np.load(published_folder / f"feats/res152/{split.ids[0]}.npy")
    np.testing.assert_array_equal(
        split.features.take(np.array([0]))["visual"][0].ravel(), raw.ravel()
    )


def test_features_from_disk_train_the_same_model(trained, small_config, tmp_path):
    config = small_config("cmpae")
    config.data.feed = "stream"
    run(config, str(tmp_path / "W"), "train")
    one, other = (
        (workdir / "scores_test.json").read_text().replace(str(workdir), "")
        for workdir in (trained.workdir, tmp_path / "W")
    )
    assert one == other
    for stage, file in (("ratios", "noise_ratios.npz"), ("thresholds", "thresholds.npz")):
        one, other = (
            dict(np.load(workdir / stage / file)) for workdir in (trained.workdir, tmp_path / "W")
        )
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_loaded_parser_reads_published_files(trained, published_folder):
    parser = load(trained.workdir)
    assert parser.streams == ("vggish", "resnet152", "r2plus1d")
    split = Dataset(trained.config.data).split("test")
    features = {
        name: np.stack(
            [np.load(published_folder / STREAMS[name].folder / f"{x}.npy") for x in split.ids]
        )
        for name in parser.streams
    }
    found = parser.predict(features)
    alone = load_features(str(published_folder), data_spec("base_frames"))
    rows = [alone.ids.index(x) for x in split.ids]
    np.testing.assert_array_equal(
        alone.features.take(np.array(rows))["visual"], split.features.take(np.arange(3))["visual"]
    )
    stored = dict(np.load(trained.workdir / "parsed_test.npz"))
    np.testing.assert_array_equal(found.segments, stored["predicted"])
    pooled = features | {"resnet152": features["resnet152"].reshape(-1, 10, 8, 2048).mean(axis=2)}
    with pytest.raises(UserError, match="resnet152.*averages over the frames"):
        parser.predict(pooled)
