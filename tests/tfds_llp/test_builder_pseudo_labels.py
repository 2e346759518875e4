"""Segment pseudo labels in prepared data: masked, or absent, or refused."""

import shutil

import numpy as np
import pytest

from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS
from tests.tfds_llp.building import SPLITS, prepare, read, refused
from tests.tfds_llp.published_folder import write_published


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["base"], pseudo_labels=True)


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


def test_they_are_masked_by_the_weak_label_and_that_is_counted(folder, data_dir, capsys):
    builder = prepare(folder, data_dir)
    for split in SPLITS:
        for example in read(builder, split):
            for modality, segments in (("audio", slice(3, 5)), ("visual", slice(6, 9))):
                teacher = np.zeros((10, 25), np.uint8)
                teacher[segments, [0, 24]] = 1
                expected = teacher * example["weak_label"]
                assert (example[f"{modality}_pseudo_label"] == expected).all()
    assert builder.info.metadata["pseudo_labels"] is True
    # Nine videos, two classes, two or three segments; four labels fit: Speech 3 times,
    # Clapping once.
    audio, visual = 9 * 2 * 2 - 4 * 2, 9 * 2 * 3 - 4 * 3
    assert builder.info.metadata["masked_pseudo_labels"] == {"audio": audio, "visual": visual}
    assert f"{audio} audio and {visual} visual" in capsys.readouterr().out


def test_without_any_they_are_zero(folder, data_dir):
    for subfolder in PSEUDO_LABELS.values():
        shutil.rmtree(folder / subfolder)
    builder = prepare(folder, data_dir)
    assert builder.info.metadata["pseudo_labels"] is False
    assert sum(example["audio_pseudo_label"].sum() for example in read(builder, "train")) == 0


def test_one_teacher_alone_is_refused(folder, data_dir):
    shutil.rmtree(folder / "CLIP/segment_pseudo_labels")
    message = refused(folder, data_dir)
    assert "all videos or for none" in message and "missing (9): CLIP" in message


def test_one_missing_file_is_refused_by_name(folder, data_dir):
    (folder / "CLAP/segment_pseudo_labels/valvideo_01.npy").unlink()
    message = refused(folder, data_dir)
    assert "missing (1): CLAP/segment_pseudo_labels/valvideo_01.npy;" in message


def test_other_numbers_than_0_and_1_are_refused(folder, data_dir):
    np.save(folder / "CLIP/segment_pseudo_labels/valvideo_01.npy", np.full((10, 25), 2))
    assert "valvideo_01.npy pseudo labels must be 0 or 1" in refused(folder, data_dir)


def test_videos_left_out_need_none(folder, data_dir):
    for subfolder in (*PSEUDO_LABELS.values(), "feats/vggish"):
        (folder / subfolder / "testvideo02.npy").unlink()
    builder = prepare(folder, data_dir, allow_missing_features=True)
    assert builder.info.metadata["pseudo_labels"] is True
    assert len(builder.as_data_source("test")) == 2
