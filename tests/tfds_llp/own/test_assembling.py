"""A folder of one's own becomes prepared data, with clips of several lengths."""

import os
import shutil

import numpy as np
import pytest

from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.streams import DataSpec
from tests.tfds_llp.own.runs import CLASSES, LENGTHS, TASK, write_features
from tfds_llp.own.keys import Keys
from tfds_llp.own.preparing import own_config
from tfds_llp.prepare import prepare_in

KEYS = Keys(6, 2.0)


def prepared(data, root, streams="base", keys=KEYS, allow=False, **more):
    given = {"manual_dir": data, "allow_missing_features": allow, "synthetic_seed": 0}
    return prepare_in("folder", root, **given, streams=streams, keys=keys, **more)


def split_of(chosen, name):
    config = chosen.builder.builder_config
    return load_split(chosen.builder, name, DataSpec(config.task, config.features))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("own") / "DATA")


@pytest.fixture
def data(written, tmp_path):
    return shutil.copytree(written, tmp_path / "DATA")


@pytest.mark.parametrize("streams", ["base", "base_frames", "clip_clap", "plain"])
def test_clips_keep_their_lengths(streams, tmp_path):
    data, kept_as = write_features(tmp_path / "DATA", streams), "float32"
    if streams == "base_frames":
        kept_as = "float16"
    chosen = prepared(data, tmp_path / "tfds", streams, Keys(6, 2.0, frames_dtype=kept_as))
    assert split_of(chosen, "train").features.dtypes["visual"] == kept_as
    for name, lengths in LENGTHS.items():
        split = split_of(chosen, name)
        assert split.ids == [f"{name} {place}" for place in range(len(lengths))]
        np.testing.assert_array_equal(split.lengths, lengths)
        assert split.task == TASK
        for row, segments in enumerate(lengths):
            for x in split.features.arrays.values():
                assert np.abs(x[row, :segments]).max(axis=1).all() and not x[row, segments:].any()
        assert (split.truth is None) == (name == "train")
    truth = split_of(chosen, "test").truth
    assert truth[1, :, 0, CLASSES.index("Gong")].tolist() == [1, 1, 0, 0, 0, 0]
    assert truth[1, :, 1, CLASSES.index("Triangle")].tolist() == [0, 0, 1, 1, 0, 0]


def test_clips_of_full_length_have_no_lengths(tmp_path):
    data = write_features(tmp_path / "DATA", lengths={"train": (6, 6), "val": (6,)})
    chosen = prepared(data, tmp_path / "tfds")
    assert set(chosen.builder.info.splits) == {"train", "val"}
    assert split_of(chosen, "train").lengths is None
    assert split_of(chosen, "val").dense is None and split_of(chosen, "val").truth is not None


def test_other_folders_keys_and_streams_do_not_collide(data, tmp_path):
    root, other = tmp_path / "tfds", write_features(tmp_path / "OTHER", lengths=LENGTHS)
    made = [prepared(data, root), prepared(other, root)]
    made.append(prepared(data, root, keys=Keys(6, 2.0, split_seed=1)))
    made.append(prepared(write_features(tmp_path / "PLAIN", "plain"), root, "plain"))
    assert len({each.builder.data_dir for each in made}) == 4
    again = prepared(data, root)
    assert again.prepared and again.builder.data_dir == made[0].builder.data_dir


@pytest.mark.parametrize("file", ["classes.csv", "train.csv", "dense_visual.csv", "feats"])
def test_other_files_are_prepared_beside(data, tmp_path, file):
    first = prepared(data, tmp_path / "tfds")
    if file == "feats":
        path = data / "feats/vggish/val 0.npy"
        np.save(path, np.load(path) + 1)
    else:
        more = {"classes.csv": "Whistle\n", "train.csv": "\n"}.get(file, "val 0,0,2,Bell\n")
        with open(data / file, "a") as written:
            written.write(more)
    second = prepared(data, tmp_path / "tfds")
    assert not second.prepared and second.place and file in second.why
    assert first.builder.data_dir != second.builder.data_dir
    assert len(second.builder.builder_config.task.classes) == 7 + (file == "classes.csv")
    assert prepared(data, tmp_path / "tfds").place == second.place


def test_a_folder_that_is_gone_is_known_by_what_was_prepared(data, tmp_path):
    first = prepared(data, tmp_path / "tfds")
    shutil.rmtree(data / "feats")
    assert prepared(data, tmp_path / "tfds").builder.data_dir == first.builder.data_dir
    shutil.rmtree(data)
    assert prepared(data, tmp_path / "tfds").builder.data_dir == first.builder.data_dir
    assert own_config(tmp_path / "tfds", data, "base", KEYS).task == TASK
    with pytest.raises(UserError, match="DATA: is no folder; name the folder of your data"):
        prepared(data, tmp_path / "tfds", keys=Keys(7, 2.0))
    with pytest.raises(UserError, match="needs the folder"):
        prepared(None, tmp_path / "tfds")


@pytest.mark.parametrize("lost", ["feats/vggish/val 1.npy", "feats/res152/train 3.npy"])
def test_clips_without_features_are_left_out_if_allowed(data, tmp_path, lost):
    os.remove(data / lost)
    with pytest.raises(UserError, match="1 of 13 clips lack features") as told:
        prepared(data, tmp_path / "tfds")
    assert lost in str(told.value) and not (tmp_path / "tfds/llp").exists()
    chosen = prepared(data, tmp_path / "tfds", allow=True)
    name = lost.rpartition("/")[2].removesuffix(".npy")
    assert chosen.builder.info.metadata["left_out"] == [name]
    split = split_of(chosen, name.split()[0])
    assert name not in split.ids and split.annotated == len(split) + 1
    with pytest.raises(UserError, match="prepared without 1 videos"):
        prepared(data, tmp_path / "tfds")


def test_streams_that_do_not_agree_are_refused(data, tmp_path):
    path = data / "feats/vggish/val 2.npy"
    np.save(path, np.zeros((6, 128), np.float32))
    said = "val 2.npy for 3 or 6 segments and feats/res152/val 2.npy for 2 segments"
    with pytest.raises(UserError, match=said) as told:
        prepared(data, tmp_path / "tfds")
    assert "\n" not in str(told.value) and not (tmp_path / "tfds/llp").exists()


def test_an_event_behind_the_end_of_a_short_clip_is_refused(data, tmp_path):
    with open(data / "dense_audio.csv", "a") as file:
        file.write("val 2,8,10,Bell\n")
    with pytest.raises(UserError, match="val 2") as told:
        prepared(data, tmp_path / "tfds")
    assert "\n" not in str(told.value)


def test_labels_of_teachers_are_as_short_as_their_clips(data, tmp_path):
    for folder in ("CLIP", "CLAP"):
        (data / folder / "segment_pseudo_labels").mkdir(parents=True)
        for name, lengths in LENGTHS.items():
            for place, segments in enumerate(lengths):
                labels = np.ones((segments, 7), np.int64)
                np.save(data / folder / f"segment_pseudo_labels/{name} {place}.npy", labels)
    split = split_of(prepared(data, tmp_path / "tfds"), "train")
    expected = np.arange(6)[None, :] < np.array(LENGTHS["train"])[:, None]
    weak = split.weak_label[:, None, None, :]
    expected = np.repeat(expected[:, :, None, None] * weak, 2, axis=2)
    np.testing.assert_array_equal(split.pseudo_label, expected)
    np.save(data / "CLIP/segment_pseudo_labels/train 3.npy", np.ones((4, 7), np.int64))
    with pytest.raises(UserError, match=r"CLIP/segment_pseudo_labels/train 3.npy has shape \[4, 7"):
        prepared(data, tmp_path / "tfds")
