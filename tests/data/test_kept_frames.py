"""Streams that keep the frames of a segment: from files through training to predictions."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.data.dataset import Dataset
from avvp_jax.data.prepared import load_features
from avvp_jax.errors import UserError
from avvp_jax.methods import stages_of
from avvp_jax.methods.cmpae.method import LAYOUT
from avvp_jax.modes import run
from avvp_jax.nn.functional import make_network, parser_network
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.storage.feature_files import read_features
from avvp_jax.storage.feature_kinds import lengths_of
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import STREAM_SETS, STREAMS, data_spec, pool_to_segments
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.feed import StoredFeed
from avvp_jax.training.order import EpochOrder
from tests.short_clips import variables_of
from tests.tfds_llp.building import prepare, read, refused
from tests.tfds_llp.published_folder import TEST, ids, write_published
from tfds_llp import Llp, LlpConfig, llp
from tfds_llp.own.keys import Keys
from tfds_llp.prepare import prepare as prepare_named

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


MANY = {f"many{number:07d}_0_10": "Dog" for number in range(100)}
WIDTHS = {"resnet152_frames": 1024}


def test_frames_are_prepared_a_few_at_a_time(tmp_path, monkeypatch):
    """However many there are: memory holds a shard of them, and what is being read."""
    folder = write_published(
        tmp_path / "DATA", STREAM_SETS["base_frames"], train=MANY, widths=WIDTHS
    )
    monkeypatch.setattr(llp, "_BYTES_PER_SHARD", 1 << 18)
    config = LlpConfig(
        name="few", streams=STREAM_SETS["base_frames"], widths=WIDTHS, frames_dtype="float16"
    )
    tracemalloc.start()
    builder = prepare(folder, tmp_path / "tfds", config)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    written = sum(split.num_bytes for split in builder.info.splits.values())
    others = len(MANY) * 4 * 10 * (128 + 512)  # are all in memory
    frames = written - others
    assert most < others + frames / 2
    for name, videos in (("train", MANY), ("test", TEST)):
        for example, video in zip(read(builder, name), ids(videos), strict=True):
            raw = np.load(folder / f"feats/res152/{video}.npy").astype(np.float16)
            assert example["resnet152_frames"].dtype == np.float16
            np.testing.assert_array_equal(example["resnet152_frames"].ravel(), raw.ravel())


@pytest.mark.parametrize("damage", ["other numbers", "empty", "gone", "longer"])
def test_frames_that_change_while_they_are_prepared_are_refused(damage, tmp_path, monkeypatch):
    folder = write_published(tmp_path / "DATA", STREAM_SETS["base_frames"])
    path, recorded = folder / "feats/res152/valvideo_02.npy", llp.Llp._record

    def change(*args, **facts):
        recorded(*args, **facts)
        path.unlink()
        if damage == "empty":
            path.touch()
        elif damage != "gone":
            np.save(path, np.ones((80 + 8 * (damage == "longer"), 2048), np.float32))

    monkeypatch.setattr(llp.Llp, "_record", change)
    with pytest.raises(UserError, match="valvideo_02: its features have changed") as told:
        prepare(folder, tmp_path / "tfds", "base_frames")
    assert str(told.value).isprintable()
    assert not [*(tmp_path / "tfds/llp").glob("base_frames/*")]


def half_a_set(config, **more):
    """The config of the same data with frames as float16."""
    config = config.copy_and_resolve_references()
    config.data.frames_dtype, config.data.feed = "float16", more.get("feed", "device")
    return config


def test_frames_of_half_the_size_are_a_data_set_of_its_own(small_config):
    config = small_config("cmpae")
    whole, half = (Dataset(x.data) for x in (config, half_a_set(config)))
    assert half.folder == whole.folder.replace("base_frames", "base_frames_float16")
    assert half.origin["content"] != whole.origin["content"] and half.spec == whole.spec
    frames, others = 4 * 10 * 8 * 2048, 4 * 10 * (128 + 512)
    assert (whole.spec.video_bytes, half.spec.video_bytes) == (
        frames + others,
        frames // 2 + others,
    )
    stored = Dataset(half_a_set(config, feed="stream").data)
    rows = np.arange(3)
    for one, two, three in zip(
        *(x.split("test").features.take(rows).items() for x in (whole, half, stored)), strict=True
    ):
        dtype = "float16" if one[0] == "visual" else "float32"
        assert two[1].dtype == three[1].dtype == dtype
        np.testing.assert_array_equal(two[1], one[1].astype(dtype))
        np.testing.assert_array_equal(three[1], two[1])
    mesh, roots = make_mesh(1), jnp.stack([keys.root_key(1)])
    train = stored.train.features
    order = EpochOrder(roots, videos=len(train), batch_size=2, shuffle=False, mesh=mesh)
    feed = StoredFeed(train, order, 1, 1, mesh)
    block = feed.block(1, 0, 1)["visual"]
    assert block.dtype == feed.shapes["visual"].dtype == np.float16
    np.testing.assert_array_equal(
        np.asarray(block)[0, 0], whole.train.features.take(np.arange(2))["visual"].astype("f2")
    )


@pytest.mark.parametrize("method", ["cmpae", "han"])
def test_a_network_computes_with_float32_of_such_frames(method, small_config):
    config = small_config(method)
    spec = data_spec("base_frames")
    network = stages_of(config)[-1 - (method == "cmpae")].trained_network(config, spec)
    rng = np.random.default_rng(0)
    features = {
        role: rng.standard_normal((2, 10, x.segment_width(LLP)), np.float32)
        for role, x in spec.roles.items()
    }
    features["visual"] = features["visual"].astype(np.float16)
    parse = jax.jit(network.module(variables_of(network)))
    one, two = (parse(features | {"visual": features["visual"].astype(x)}) for x in ("f2", "f4"))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert {x.dtype.name for x in jax.tree.leaves(one)} == {"float32"}


def test_numbers_beyond_float16_and_data_without_frames_are_refused(tmp_path):
    folder = write_published(tmp_path / "DATA", STREAM_SETS["base_frames"])
    np.save(folder / "feats/res152/testvideo01.npy", np.full((80, 2048), 7e4, np.float32))
    half = Llp.builder_configs["base_frames"].keeping("float16")
    message = refused(folder, tmp_path / "tfds", half)
    assert "res152/testvideo01.npy holds numbers beyond float16; keep frames as float32" in message
    for name in ("llp/base", "llp/synthetic", "llp/synthetic_videos"):
        with pytest.raises(UserError, match="keeps none; leave it float32"):
            prepare_named(name, tmp_path / "tfds", folder, frames_dtype="float16")
    with pytest.raises(UserError, match="frames_dtype='float8' must be one of float32, float16"):
        LlpConfig(name="x", streams=STREAM_SETS["base_frames"], frames_dtype="float8")
    assert Keys().name(folder, "base_frames") != Keys(frames_dtype="float16").name(
        folder, "base_frames"
    )


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
