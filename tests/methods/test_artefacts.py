"""Files between stages: what is written is read back. What is damaged is in tests/damage."""

import pathlib
import pickle

import numpy as np
import pytest
import torch

from avvp_jax.errors import UserError
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.methods.jomold.noise_ratios import read_noise_ratios, write_noise_ratios
from avvp_jax.methods.ma.removed_labels import read_removed_labels, write_removed_labels
from avvp_jax.methods.targets import RemovedLabels

IDS = ["aaa", "bbb", "ccc"]


@pytest.fixture
def removed():
    rng = np.random.default_rng(0)
    return RemovedLabels(*(rng.random((2, 3, 25)) < 0.3))


def test_removed_labels_are_matched_by_id(tmp_path, removed):
    path = str(tmp_path / "removed_labels.npz")
    write_removed_labels(path, removed, IDS)
    found = read_removed_labels(path, ["ccc", "aaa"], np.array([7, 9]), 25)
    np.testing.assert_array_equal(found.audio, removed.audio[[2, 0]])
    np.testing.assert_array_equal(found.visual, removed.visual[[2, 0]])
    with pytest.raises(UserError, match="lacks the videos ddd"):
        read_removed_labels(path, ["aaa", "ddd"], np.array([0, 1]), 25)


def test_noise_ratios_keep_every_bit(tmp_path):
    ratios = NoiseRatios(*np.random.default_rng(0).random((2, 25)))
    write_noise_ratios(str(tmp_path / "noise_ratios.npz"), ratios)
    published = np.load(tmp_path / "noise_ratios.npz")
    assert sorted(published.files) == ["audio", "visual"]
    found = read_noise_ratios(str(tmp_path / "noise_ratios.npz"), 25)
    for name in ("audio", "visual"):
        assert published[name].dtype == np.float64
        np.testing.assert_array_equal(getattr(found, name), getattr(ratios, name))


def published_pickle(path: pathlib.Path, visual: list, audio: list) -> str:
    """As MA writes it: torch scalars in lists in a plain pickle."""
    lists = [[[torch.tensor(row) for row in rows] for rows in side] for side in (visual, audio)]
    path.write_bytes(pickle.dumps(lists))
    return str(path)


def rows_of_classes(**rows) -> list:
    return [rows.get(f"c{index}", []) for index in range(25)]


@pytest.mark.parametrize("scalars", [True, False], ids=["torch scalars", "integers"])
def test_the_published_pickle_is_matched_by_csv_row(tmp_path, scalars):
    visual, audio = rows_of_classes(c0=[0, 5], c3=[2]), rows_of_classes(c24=[5])
    path = tmp_path / "need_to_change.pkl"
    if scalars:
        published_pickle(path, visual, audio)
    else:
        path.write_bytes(pickle.dumps([visual, audio]))
    found = read_removed_labels(str(path), ["a", "b"], np.array([2, 5]), 25, left_out=4)
    assert np.argwhere(found.visual).tolist() == [[0, 3], [1, 0]]
    assert np.argwhere(found.audio).tolist() == [[1, 24]]
    with pytest.raises(UserError, match="row 5 is beyond the training csv's 5 rows"):
        read_removed_labels(str(path), ["a", "b"], np.array([2, 5]), 25, left_out=3)
