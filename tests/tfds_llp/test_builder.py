"""The TFDS builder: what it writes of whole and of incomplete folders."""

import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from avvp_jax.streams import STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import LLP
from tests.tfds_llp.building import SPLITS, prepare, read, refused
from tests.tfds_llp.published_folder import TRAIN, VAL, ids, write_published
from tfds_llp import Llp
from tfds_llp import llp as llp_module


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["base"])


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


def test_segments_and_labels_come_back_in_file_order(folder, data_dir):
    builder = prepare(folder, data_dir)
    for split, videos in SPLITS.items():
        examples = read(builder, split)
        assert [example["filename"].decode() for example in examples] == list(videos)
        assert [example["id"].decode() for example in examples] == ids(videos)
        assert {example["densely_labelled"] for example in examples} == {split != "train"}
        for example in examples:
            for name in STREAM_SETS["base"]:
                file = folder / STREAMS[name].folder / f"{example['id'].decode()}.npy"
                assert example[name].dtype == np.float32
                assert (example[name] == pool_to_segments(STREAMS[name], LLP, np.load(file))).all()
    first, second = read(builder, "val")
    assert first["weak_label"].dtype == first["audio_label"].dtype == np.uint8
    assert np.flatnonzero(first["weak_label"]).tolist() == [0, 13]
    assert first["audio_label"][:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert second["audio_label"].sum() == 0
    assert read(builder, "test")[1]["visual_label"][:, 4].sum() == 6
    assert sum(example["audio_label"].sum() for example in read(builder, "train")) == 0


def test_clip_clap_holds_its_three_streams(tmp_path, data_dir):
    folder = write_published(tmp_path / "DATA", STREAM_SETS["clip_clap"])
    example = read(prepare(folder, data_dir, "clip_clap"), "test")[2]
    assert set(STREAMS) & set(example) == set(STREAM_SETS["clip_clap"])
    clap = np.load(folder / "CLAP/features/testvideo03.npy")
    assert (example["clap"] == pool_to_segments(STREAMS["clap"], LLP, clap)).all()


def test_tfds_finds_the_builder_and_its_data_by_name(folder, data_dir):
    prepare(folder, data_dir)
    builder = tfds.builder("llp/base", data_dir=data_dir)
    assert isinstance(builder, Llp)
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 4
    assert len(pickle.loads(pickle.dumps(builder)).as_data_source("val")) == 2


def test_tfds_builder_takes_allow_missing_features(folder, data_dir):
    (folder / "feats/vggish/testvideo03.npy").unlink()
    builder = tfds.builder("llp/base", data_dir=data_dir, allow_missing_features=True)
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)
    assert len(builder.as_data_source("test")) == 2


def test_the_folder_may_stand_in_the_manual_dir_as_llp(tmp_path, data_dir):
    write_published(tmp_path / "manual/llp", STREAM_SETS["base"])
    assert len(prepare(tmp_path / "manual", data_dir).as_data_source("train")) == 4


def test_order_holds_over_many_shards(folder, data_dir, monkeypatch):
    monkeypatch.setattr(llp_module, "_BYTES_PER_SHARD", 150_000)
    builder = prepare(folder, data_dir)
    assert builder.info.splits["train"].num_shards == 3
    assert [example["id"].decode() for example in read(builder, "train")] == ids(TRAIN)


def test_prepared_data_is_not_prepared_again(folder, data_dir):
    prepare(folder, data_dir)
    shutil.rmtree(folder)
    assert len(prepare(folder, data_dir).as_data_source("train")) == 4


def test_the_oddities_are_printed_once_and_kept(folder, data_dir, capsys):
    metadata = prepare(folder, data_dir).info.metadata
    printed = capsys.readouterr().out
    assert printed.count("rows with onset > offset") == 1
    found = metadata["annotations"]["AVVP_eval_audio.csv: rows with onset = offset, no segment"]
    assert found == {
        "count": 2,
        "examples": ["valvideo_02_10_20 (10, 10)", "CSWQ_HzQ_10_20 (9, 9)"],
    }
    assert (
        Llp(config="base", data_dir=data_dir).info.metadata["annotations"]
        == (metadata["annotations"])
    )


class TestMissingFeatures:
    def test_ten_files_and_the_count_are_listed(self, folder, data_dir):
        shutil.rmtree(folder / "feats/vggish")
        (folder / "feats/res152/testvideo01.npy").unlink()
        (folder / "feats/res152/testvideo02.npy").unlink()
        message = refused(folder, data_dir)
        assert "missing feature files (11): feats/vggish/trainvideo1.npy" in message
        assert message.count(".npy") == 10 and "11 in all" in message
        assert "allow_missing_features" in message and "Google Drive" in message

    def test_videos_without_all_files_are_left_out_if_allowed(self, folder, data_dir, capsys):
        (folder / "feats/vggish/AP0061o0Nvk.npy").unlink()
        (folder / "feats/res152/AP0061o0Nvk.npy").unlink()
        (folder / "feats/r2plus1d_18/testvideo02.npy").unlink()
        builder = prepare(folder, data_dir, allow_missing_features=True)
        left = {split: [e["id"].decode() for e in read(builder, split)] for split in SPLITS}
        assert left["train"] == [video for video in ids(TRAIN) if video != "AP0061o0Nvk"]
        assert left["test"] == ["testvideo01", "testvideo03"]
        assert builder.info.metadata["left_out"] == ["AP0061o0Nvk", "testvideo02"]
        assert "Leaving out 2 videos" in capsys.readouterr().out
        example = read(builder, "test")[1]
        assert np.flatnonzero(example["weak_label"]).tolist() == [23]

    def test_a_split_without_videos_is_refused(self, folder, data_dir):
        for video in ids(VAL):
            (folder / f"feats/vggish/{video}.npy").unlink()
        assert "no val video" in refused(folder, data_dir, allow_missing_features=True)

    def test_damaged_files_are_refused_even_so(self, folder, data_dir):
        (folder / "feats/vggish/AP0061o0Nvk.npy").unlink()
        (folder / "feats/res152/AP0061o0Nvk.npy").write_bytes(b"")
        (folder / "feats/vggish/testvideo02.npy").write_bytes(b"")
        message = refused(folder, data_dir, allow_missing_features=True)
        assert "damaged files (1): feats/vggish/testvideo02.npy is empty" in message
