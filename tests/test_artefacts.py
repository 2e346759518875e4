"""Files between stages: what is written is read back, and damage is named."""

import collections
import os
import pathlib
import pickle

import numpy as np
import pytest
import torch

from avvp_jax.artefacts import (
    read_noise_ratios,
    read_removed_labels,
    write_noise_ratios,
    write_removed_labels,
)
from avvp_jax.denoising import NoiseRatios
from avvp_jax.errors import UserError
from avvp_jax.labels import RemovedLabels

IDS = ["aaa", "bbb", "ccc"]


@pytest.fixture
def removed():
    rng = np.random.default_rng(0)
    return RemovedLabels(*(rng.random((2, 3, 25)) < 0.3))


def test_removed_labels_are_matched_by_id(tmp_path, removed):
    path = str(tmp_path / "removed_labels.npz")
    write_removed_labels(path, removed, IDS)
    found = read_removed_labels(path, ["ccc", "aaa"], np.array([7, 9]))
    np.testing.assert_array_equal(found.audio, removed.audio[[2, 0]])
    np.testing.assert_array_equal(found.visual, removed.visual[[2, 0]])
    with pytest.raises(UserError, match="lacks the videos ddd"):
        read_removed_labels(path, ["aaa", "ddd"], np.array([0, 1]))


def test_noise_ratios_keep_every_bit(tmp_path):
    ratios = NoiseRatios(*np.random.default_rng(0).random((2, 25)))
    write_noise_ratios(str(tmp_path / "noise_ratios.npz"), ratios)
    published = np.load(tmp_path / "noise_ratios.npz")
    assert sorted(published.files) == ["audio", "visual"]
    found = read_noise_ratios(str(tmp_path / "noise_ratios.npz"))
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
    found = read_removed_labels(str(path), ["a", "b"], np.array([2, 5]))
    assert np.argwhere(found.visual).tolist() == [[0, 3], [1, 0]]
    assert np.argwhere(found.audio).tolist() == [[1, 24]]


class Trap:
    """Runs a command when unpickled by a careless reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class NestedTrap:
    """The same inside the bytes of a tensor's storage."""

    def __init__(self, content: bytes):
        self.content = content

    def __reduce__(self):
        storage = LoadBytes(self.content)
        return torch._utils._rebuild_tensor_v2, (
            storage,
            0,
            (),
            (),
            False,
            collections.OrderedDict(),
        )


class LoadBytes:
    def __init__(self, content: bytes):
        self.content = content

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.content,)


@pytest.mark.parametrize("place", ["whole", "in a list", "in a tensor"])
def test_nothing_in_a_pickle_is_run(tmp_path, place):
    trap = Trap(tmp_path / "executed")
    content = {
        "whole": trap,
        "in a list": [rows_of_classes(c0=[trap]), rows_of_classes()],
        "in a tensor": [
            rows_of_classes(c0=[NestedTrap(pickle.dumps(trap, protocol=2))]),
            rows_of_classes(),
        ],
    }[place]
    path = tmp_path / "trap.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"trap\.pkl: .*only lists, integers and torch index"):
        read_removed_labels(str(path), IDS, np.arange(3))
    assert not (tmp_path / "executed").exists()


BAD_PICKLES = {
    "empty": b"",
    "truncated": pickle.dumps([rows_of_classes(), rows_of_classes()])[:-9],
    "text": b"hello",
    "one side": pickle.dumps([rows_of_classes()]),
    "24 classes": pickle.dumps([rows_of_classes()[1:]] * 2),
    "negative row": pickle.dumps([rows_of_classes(c1=[-1]), rows_of_classes()]),
    "words": pickle.dumps([rows_of_classes(c1=["x"]), rows_of_classes()]),
    "booleans": pickle.dumps([rows_of_classes(c1=[True]), rows_of_classes()]),
    "a dict": pickle.dumps({"visual": []}),
    "a tensor of floats": pickle.dumps(
        [rows_of_classes(c1=[torch.tensor(1.0)]), rows_of_classes()]
    ),
    "a vector": pickle.dumps([rows_of_classes(c1=[torch.tensor([1, 2])]), rows_of_classes()]),
}


@pytest.mark.parametrize("damage", BAD_PICKLES)
def test_a_damaged_pickle_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "bad.pkl"
    path.write_bytes(BAD_PICKLES[damage])
    with pytest.raises(UserError, match=r"bad\.pkl") as raised:
        read_removed_labels(str(path), IDS, np.arange(3))
    assert "\n" not in str(raised.value)


def test_a_damaged_npz_is_named_in_one_line(tmp_path, removed):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    write_removed_labels(str(good), removed, IDS)
    content = good.read_bytes()
    variants = [b"", content[: len(content) // 2], b"text"]
    for variant in variants:
        bad.write_bytes(variant)
        with pytest.raises(UserError, match=r"bad\.npz"):
            read_removed_labels(str(bad), IDS, np.arange(3))
    wrong = {
        "no ids": {"audio": removed.audio, "visual": removed.visual},
        "numbers": {"audio": removed.audio * 1.0, "visual": removed.visual, "id": IDS},
        "short": {"audio": removed.audio[:2], "visual": removed.visual, "id": IDS},
        "objects": {"audio": np.array([None]), "visual": removed.visual, "id": IDS},
    }
    for arrays in wrong.values():
        np.savez(bad, **arrays)
        with pytest.raises(UserError, match=r"bad\.npz"):
            read_removed_labels(str(bad), IDS, np.arange(3))
    with pytest.raises(UserError, match="no such file"):
        read_removed_labels(str(tmp_path / "none.npz"), IDS, np.arange(3))


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_ratios_out_of_range_are_refused(tmp_path, value):
    ratio = np.full(25, 0.5)
    ratio[3] = value
    np.savez(tmp_path / "noise_ratios.npz", audio=ratio, visual=np.full(25, 0.5))
    with pytest.raises(UserError, match="audio holds values that are no ratios"):
        read_noise_ratios(str(tmp_path / "noise_ratios.npz"))
