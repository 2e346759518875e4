"""Losses and gradients that are not finite."""

import dataclasses

import jax
import numpy as np
import pytest

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.prepared import open_dataset
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.methods.han import stages as han
from avvp_jax.methods.targets import targets
from avvp_jax.nn.functional import parser_network
from avvp_jax.reports.writers import JsonWriter
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP
from avvp_jax.training import fit, keys
from avvp_jax.training.job import Data, Job, Model
from avvp_jax.training.order import epoch_order
from avvp_jax.training.state import BatchArrays


@pytest.fixture
def fitted(config, tmp_path):
    """Fits seeds to nine videos after a change of features, or of one seed's target of a video."""
    dataset = open_dataset(config.data)
    train, val = (load_split(dataset, name, data_spec("base")) for name in ("train", "val"))
    network = parser_network((128, 2048, 512), len(LLP.classes), config.model.to_dict())

    def run_fit(seeds, change=lambda features: None, own_damage=None):
        features = {name: array.copy() for name, array in train.features.arrays.items()}
        change(features)
        changed = dataclasses.replace(train, features=ResidentFeatures(features))
        own = [targets(train.weak_label.copy()) for _ in seeds]
        if own_damage:
            seed, row = own_damage
            own[seed]["video"][row, 0] = np.nan
        own = BatchArrays({"targets": jax.tree.map(lambda *each: np.stack(each), *own)})
        folder, model = str(tmp_path / "stage"), Model(network, han.loss, network)
        job = Job(config, folder, model, Data(changed, val, own=own), seeds, make_mesh())
        fit.fit(job, JsonWriter(str(tmp_path)))
        return train

    return run_fit


def batch_with(train, row: int, seed: int, epoch: int) -> tuple[int, list[str]]:
    """The step, from 1, in which an epoch of a seed comes to a video, and the ids of its batch."""
    order = np.asarray(epoch_order(keys.root_key(seed), np.int32(epoch), len(train), 2, True))
    (step,) = np.flatnonzero((order == row).any(axis=1))
    return step + 1, [train.ids[row] for row in order[step]]


def test_divergence_names_the_videos_and_keeps_the_checkpoint_before(config, fitted, tmp_path):
    config.train.epochs = 1
    train = fitted([7])
    config.train.epochs = 3

    def damage(features):
        features["audio"][1, 3, 5] = np.nan

    step, ids = batch_with(train, 1, 7, epoch=2)
    for _ in range(2):  # it says so again, and would go on once the features are mended
        with pytest.raises(
            UserError,
            match=f"seed 7, epoch 2, step {step}: .* not finite on the videos {', '.join(ids)};",
        ):
            fitted([7], damage)
        assert [path.name for path in (tmp_path / "stage/latest").iterdir()] == ["2"]


def test_of_several_seeds_the_diverging_one_stops_alone(config, fitted, tmp_path, capsys):
    config.num_seeds = 2
    train = fitted([3, 4], own_damage=(1, 2))
    step, ids = batch_with(train, 2, 4, epoch=1)
    message = f"seed 4, epoch 1, step {step}: loss or gradient is not finite on the videos "
    message += f"{', '.join(ids)}; this seed stops there"
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and message in printed.err
    assert "epoch 2/2  1 seeds" in printed.out
