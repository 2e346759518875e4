"""Prepared videos and bare feature folders as arrays."""

import pathlib
import shutil

import numpy as np
import pytest

from avvp_jax.data.prepared import load_features, open_dataset
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.streams import data_spec
from tests.damage.prepared import records
from tests.tfds_llp.published_folder import TEST, TRAIN, VAL


def test_a_split_comes_in_csv_order_with_pooled_features(config, published_folder):
    dataset = open_dataset(config.data)
    for name, videos in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        split = load_split(dataset, name, data_spec("base"))
        assert split.filenames == list(videos)
        frames = np.load(published_folder / f"feats/res152/{split.ids[1]}.npy")
        pooled = frames.reshape(10, 8, 2048).mean(axis=1)
        np.testing.assert_allclose(split.features.arrays["visual"][1], pooled, atol=1e-6)
        audio = np.load(published_folder / f"feats/vggish/{split.ids[-1]}.npy")
        np.testing.assert_array_equal(split.features.arrays["audio"][-1], audio)
        assert [split.features.arrays[r].shape[2] for r in ("audio", "visual", "snippet")] == [
            *data_spec("base").widths
        ]


def test_labels_and_dense_annotations(config):
    dataset = open_dataset(config.data)
    train, val, test = (
        load_split(dataset, name, data_spec("base")) for name in ("train", "val", "test")
    )
    assert train.truth is None
    assert train.weak_label.sum() == 5  # a label given twice counts once
    assert val.truth.shape == (2, 10, 2, 25)
    assert val.truth[0, :, 0, 0].tolist() == [1] * 4 + [0] * 6
    assert not val.truth[1].any()  # empty and reversed rows
    assert test.truth[1, :, 1, 4].tolist() == [0] + [1] * 6 + [0] * 3  # two rows that overlap


def test_an_unknown_split_is_named_with_the_known_ones(config):
    with pytest.raises(UserError, match="'dev'; the data set has train, val, test"):
        load_split(open_dataset(config.data), "dev", data_spec("base"))


def test_a_feature_folder_needs_no_annotations(config, published_folder, tmp_path):
    shutil.copytree(published_folder / "feats", tmp_path / "feats")
    split = load_features(str(tmp_path), data_spec("base"))
    assert split.ids == sorted(split.ids)
    assert split.truth is None
    test = load_split(open_dataset(config.data), "test", data_spec("base"))
    for row, video in enumerate(test.ids):
        for role, features in test.features.arrays.items():
            here = split.features.arrays[role][split.ids.index(video)]
            np.testing.assert_array_equal(here, features[row])


def test_an_incomplete_or_empty_feature_folder_says_what_is_missing(published_folder, tmp_path):
    with pytest.raises(UserError, match=r"no feature files; expected feats/vggish/ID\.npy"):
        load_features(str(tmp_path), data_spec("base"))
    shutil.copytree(published_folder / "feats", tmp_path / "feats")
    (tmp_path / "feats/res152/testvideo01.npy").unlink()
    (tmp_path / "feats/vggish/testvideo02.npy").write_bytes(b"")
    with pytest.raises(UserError, match="res152/testvideo01.npy") as raised:
        load_features(str(tmp_path), data_spec("base"))
    assert "vggish/testvideo02.npy" in str(raised.value)


def copy_prepared(config, folder):
    """Copies the prepared data, beside which other tests may prepare more."""
    root = pathlib.Path(open_dataset(config.data).data_dir_root)
    shutil.copytree(root / "llp/base", folder / "llp/base")
    config.data.data_dir = str(folder)


def test_a_damaged_record_is_named_with_its_folder(config, tmp_path):
    copy_prepared(config, tmp_path / "copy")
    record = next((tmp_path / "copy").glob("llp/base/*/llp-train.array_record*"))
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)
    with pytest.raises(UserError, match="the prepared data is damaged"):
        load_split(open_dataset(config.data), "train", data_spec("base"))


@pytest.mark.parametrize("name", ["caf\u00e9 (2)", "a.b", "\u72ac_3_5.5"])
def test_any_printable_name_of_a_file_may_be_a_videos(name, config, tmp_path):
    copy_prepared(config, tmp_path / "copy")
    records("filename", name.encode())(next((tmp_path / "copy").glob("llp/base/*")))
    assert set(load_split(open_dataset(config.data), "train", data_spec("base")).filenames) == {
        name
    }
