"""The TFDS builder writes nothing from damaged input, or where it cannot write all."""

import os
import pickle
import resource
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.streams import STREAM_SETS
from tests.tfds_llp.building import prepare, refused
from tests.tfds_llp.published_folder import (
    TEST,
    VIDEOS,
    ids,
    replace_text,
    write_published,
)


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["base"])


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def each_vggish(write):
    def damage(folder):
        for video in VIDEOS:
            file = folder / f"feats/vggish/{video}.npy"
            file.unlink()
            write(file)
        for video in ids(TEST)[:2]:
            file = folder / f"feats/r2plus1d_18/{video}.npy"
            file.unlink()
            write(file)

    return damage


def loop(folder):
    shutil.rmtree(folder / "feats")
    (folder / "feats").symlink_to(folder / "feats")


def no_features(folder):
    shutil.rmtree(folder / "feats")


def feature_file_for_folder(folder):
    shutil.rmtree(folder / "feats/vggish")
    (folder / "feats/vggish").write_text("not a folder")


# The kinds of damage to one file are told apart in tests/damage, those to the csv files in
# test_annotations.py.
DAMAGE = {
    "eleven empty files": (each_vggish(lambda file: file.touch()), "damaged files (11): feats"),
    "eleven folders": (each_vggish(lambda file: file.mkdir()), "is a folder"),
    "eleven pickles": (
        each_vggish(lambda file: file.write_bytes(pickle.dumps(Payload()))),
        "is not a .npy file",
    ),
    "eleven object arrays": (
        each_vggish(lambda file: np.save(file, np.array([Payload()], object))),
        "never loaded",
    ),
    "eleven symlink loops": (each_vggish(lambda file: file.symlink_to(file)), "symbolic links"),
    "no feature folder": (no_features, "missing feature files (27): feats/"),
    "feature folder is a loop": (loop, "missing feature files (27): feats/"),
    "feature folder is a file": (feature_file_for_folder, "missing feature files (9): feats/"),
    "one annotation file missing": (
        lambda folder: (folder / "AVVP_eval_visual.csv").unlink(),
        "annotation files are missing: AVVP_eval_visual.csv",
    ),
    "unknown class": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "Banjo", "Bagpipe"),
        "Bagpipe",
    ),
    "name that leaves the folder": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "AP0061o0Nvk", "../AP0061o0Nvk"),
        "../AP0061o0Nvk_101.8_111.8",
    ),
    "absolute name": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "AP0061o0Nvk", "/etc/passwd"),
        "/etc/passwd",
    ),
    "nothing there": (lambda folder: shutil.rmtree(folder), "no published LLP files"),
    "other files there": (
        lambda folder: (shutil.rmtree(folder), folder.mkdir(), (folder / "a.txt").touch()),
        "no published LLP files",
    ),
    "a file for the folder": (
        lambda folder: (shutil.rmtree(folder), folder.touch()),
        "no published LLP files",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_stops_before_anything_is_written_or_executed(
    folder, data_dir, damage, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    apply, words = DAMAGE[damage]
    apply(folder)
    message = refused(folder, data_dir)
    assert words in message and "DATA" in message
    assert message.count("feats/") <= 10 + 1, "ten files and the source"
    assert not (tmp_path / "executed").exists()


class TestWriting:
    def test_a_file_in_the_way_is_refused(self, folder, tmp_path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UserError, match="not a folder"):
            prepare(folder, tmp_path / "file/tfds")
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_rights_is_refused(self, folder, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot be written"):
            prepare(folder, tmp_path / "locked/tfds")

    def test_too_little_room_is_refused_before_the_features_are_read(
        self, folder, data_dir, monkeypatch, capsys
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        assert "needs 1 MB" in refused(folder, data_dir)
        assert "Reading features" not in capsys.readouterr().err

    def test_a_disk_that_fills_up_leaves_no_data_set_behind(self, folder, data_dir):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(UserError, match="cannot be written") as refusal:
                prepare(folder, data_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(refusal.value)
        assert list((data_dir / "llp/base").iterdir()) == []
        assert len(prepare(folder, data_dir).as_data_source("train")) == 4
