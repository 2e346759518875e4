"""Features on the device and features on disk feed a training the same batches."""

import itertools
import json
import pathlib
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.data import prepared as data
from avvp_jax.data.dataset import Dataset
from avvp_jax.data.features import ResidentFeatures, StoredFeatures
from avvp_jax.data.prepared import open_dataset
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.methods import stages_of
from avvp_jax.modes import run
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.feed import StoredFeed
from avvp_jax.training.order import EpochOrder
from avvp_jax.training.run import whole_run
from configs.han import get_config
from tests.on_devices import Recorder
from tests.programs import still
from tests.run_files import weights_of
from tests.weights import assert_same_training
from tfds_llp import LlpConfig, llp
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.prepare import prepare
from tfds_llp.videos import Videos

FEEDS = ("device", "stream")
MANY_VIDEOS = {"train": 1000, "val": 16, "test": 2}


@pytest.fixture
def splits(config):
    """The training videos with features in memory, and with features on disk."""
    dataset = open_dataset(config.data)
    return [
        load_split(dataset, "train", data_spec("base"), stored=stored) for stored in (False, True)
    ]


def test_blocks_hold_the_rows_that_the_device_would_take(splits):
    held, stored = splits
    roots, mesh = jnp.stack([keys.root_key(seed) for seed in (1, 2)]), make_mesh(2)
    order = EpochOrder(roots, videos=len(held), batch_size=3, shuffle=True, mesh=mesh)
    feed = StoredFeed(stored.features, order, 3, 4, mesh)
    assert order.steps == 2  # the smaller last batch is padded
    for epoch, start, stop in ((1, 0, 2), (2, 0, 1), (2, 1, 2), (3, 1, 2), (1, 1, 2)):
        rows = np.asarray(order.on_devices(jnp.full(2, epoch)))[:, start:stop]
        block = feed.block(epoch, start, stop)
        for role, features in held.features.arrays.items():
            found = np.asarray(block[role])[:, : stop - start]
            np.testing.assert_array_equal(found, features[np.maximum(rows, 0)], err_msg=role)


def test_all_parts_are_the_split(splits, monkeypatch):
    held, stored = splits
    monkeypatch.setattr("avvp_jax.data.features.PART_VIDEOS", 3)
    parts = list(stored.features.parts())
    assert [len(part["audio"]) for part in parts] == [3, 1]
    for role, features in held.features.arrays.items():
        np.testing.assert_array_equal(np.concatenate([part[role] for part in parts]), features)


@pytest.mark.parametrize("method", ["han", "ma", "jomold", "leap", "mm_cse"])
def test_both_feeds_end_in_the_same_models(method, small_config, finished, tmp_path):
    two, held, _ = finished(method, seeds=2)
    config = small_config(method)
    config.data.feed, config.num_seeds, config.train.steps_per_call = "stream", 2, 1
    config.seed = two.seed
    run(config, str(tmp_path), "train")
    models, logged = [], []
    for workdir in (held, tmp_path):
        models.append(jax.device_get([weights.variables for weights in weights_of(workdir)]))
        lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        losses = [{k: v for k, v in line.items() if k.endswith("/loss")} for line in lines]
        logged.append([line for line in losses if line])
    assert len(logged[0]) == len(logged[1]) > 0
    for one, two in zip(*logged, strict=True):
        assert one == pytest.approx(two, rel=1e-5)
    assert_same_training(*models, moved=3e-4 * 4)


def test_auto_streams_what_is_too_large_for_the_device(config, monkeypatch):
    assert isinstance(Dataset(config.data).train.features, ResidentFeatures)
    monkeypatch.setattr(data, "device_memory", lambda: 2e6)
    assert isinstance(Dataset(config.data).train.features, StoredFeatures)


def make_many(config: LlpConfig) -> dict[str, Videos]:
    """Many videos, all of whose features are 0."""
    made, rng = {}, np.random.default_rng(0)
    for name, size in MANY_VIDEOS.items():
        ids = [f"{name}{row}" for row in range(size)]
        dense = (rng.random((2, size, LLP.segments, len(LLP.classes))) < 0.1).astype(np.uint8)
        weak = dense.any(axis=(0, 2)).astype(np.uint8)
        labels = AnnotatedVideos(ids, ids, weak, *dense, np.arange(size))
        made[name] = Videos.allocate(labels, config)
    return made


class Held:
    """Bytes that a training holds: arrays read from disk, and its arrays of JAX."""

    def __init__(self):
        self.most, self._read, self._numbers = 0, {}, itertools.count()
        # Kept, so that none of the training's can have the identity of one of these.
        self._of_others = {id(array): array for array in jax.live_arrays()}

    def read(self, features: dict) -> dict:
        """Counts what was read, until nobody refers to it any more."""
        for array in features.values():
            owner, number = array if array.base is None else array.base, next(self._numbers)
            self._read[number] = owner.nbytes
            weakref.finalize(owner, self._read.pop, number)
        self.look()
        return features

    def look(self, *_) -> None:
        own = (array for array in jax.live_arrays() if id(array) not in self._of_others)
        in_jax = sum(array.nbytes for array in own)
        self.most = max(self.most, sum(list(self._read.values())) + in_jax)


def memory_of_training(feed: str, data_dir: pathlib.Path, workdir: pathlib.Path) -> int:
    """The most bytes of features at once, in an epoch of a small network."""
    config = get_config("synthetic")
    config.data.data_dir, config.data.feed = str(data_dir), feed
    config.model.width = config.model.feed_forward = 16
    config.train.epochs, config.train.batch_size = 1, 16
    still(config)
    training = whole_run(config, str(workdir), stages_of(config))
    held, take, writer = Held(), StoredFeatures.take, Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredFeatures, "take", lambda *given: held.read(take(*given)))
        patch.setattr(writer, "write_scalars", held.look)
        training.stages[-1].run(training, writer)
    return held.most


def test_a_stream_needs_less_memory_than_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(llp, "generate_videos", lambda config, *_: make_many(config))
    # In proportion to the data, which is smaller than any that needs a stream.
    monkeypatch.setattr("avvp_jax.training.feed.BLOCK_BYTES", 1 << 20)
    prepare("llp/synthetic", tmp_path)
    whole = MANY_VIDEOS["train"] * data_spec("base").video_bytes
    taken = {feed: memory_of_training(feed, tmp_path, tmp_path / feed) for feed in FEEDS}
    assert taken["stream"] < whole / 2 < whole < taken["device"], taken


def test_nan_on_disk_stops_the_stream(splits, monkeypatch):
    _, stored = splits
    source = type(stored.features._source)
    read = source.__getitems__

    def damaged(self, rows):
        examples = read(self, rows)
        return [example | {"resnet152": example["resnet152"] * np.nan} for example in examples]

    monkeypatch.setattr(source, "__getitems__", damaged)
    with pytest.raises(UserError, match="NaN or infinity in resnet152"):
        list(stored.features.parts())


def test_features_that_are_damaged_on_disk_stop_the_stream(splits, monkeypatch):
    _, stored = splits

    def fail(*_):
        raise ValueError("crc mismatch")

    monkeypatch.setattr(type(stored.features._source), "__getitems__", fail)
    with pytest.raises(UserError, match="the prepared data is damaged .*crc mismatch"):
        list(stored.features.parts())
