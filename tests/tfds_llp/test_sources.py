"""Prepared data and the files that it was made from: other files are prepared beside."""

import os
import shutil
import time

import numpy as np
import pytest

from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS
from tests.tfds_llp.published_folder import TEST, replace_text, write_published
from tfds_llp import llp
from tfds_llp.configs import LlpConfig
from tfds_llp.places import place_named, place_number, place_of
from tfds_llp.prepare import prepare

BASE = STREAM_SETS["base"]


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", BASE)


@pytest.fixture
def tfds(tmp_path, folder):
    prepare("llp/base", tmp_path / "tfds", folder)
    return tmp_path / "tfds"


@pytest.fixture
def read(monkeypatch):
    """The folders whose features are read from now on."""
    folders = []
    original = llp.read_features_into

    def note(folder, *rest):
        folders.append(folder)
        return original(folder, *rest)

    monkeypatch.setattr(llp, "read_features_into", note)
    return folders


def extracted_anew(folder):
    path = folder / "feats/vggish/valvideo_01.npy"
    path.chmod(0o644)
    np.save(path, np.load(path) + 1)


def with_labels(folder):
    source = write_published(folder.parent / "labelled", (), pseudo_labels=True)
    for subfolder in PSEUDO_LABELS.values():
        shutil.copytree(source / subfolder, folder / subfolder)


def times(builder):
    return {file.name: os.stat(file).st_mtime_ns for file in os.scandir(builder.data_path)}


CHANGES = {
    "a corrected csv": (
        lambda folder: replace_text(folder / "AVVP_test_pd.csv", "Blender", "Clapping"),
        "AVVP_test_pd.csv",
    ),
    "a corrected dense csv": (
        lambda folder: replace_text(folder / "AVVP_eval_audio.csv", "\t2\t3", "\t2\t5"),
        "AVVP_eval_audio.csv",
    ),
    "features extracted anew": (extracted_anew, "feats/vggish: other names, sizes or times"),
    "teachers' labels added": (with_labels, "CLAP/segment_pseudo_labels: 9 files, not 0"),
    "one file of another time": (
        lambda folder: os.utime(folder / "feats/res152/testvideo01.npy", (5, 5)),
        "feats/res152: other",
    ),
    "a file renamed to its whole name": (
        lambda folder: (folder / "feats/res152/testvideo01.npy").rename(
            folder / "feats/res152/testvideo01_0_10.npy"
        ),
        "feats/res152: other",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_prepared_beside(folder, tfds, capsys, read, change):
    old = prepare("llp/base", tfds, folder)
    files = times(old)
    capsys.readouterr()
    apply, words = CHANGES[change]
    apply(folder)
    new = prepare("llp/base", tfds, folder)
    said = capsys.readouterr().out.splitlines()[0]
    assert words in said and str(folder) in said and str(new.data_path) in said
    assert new.data_path != old.data_path and read == [folder]
    assert times(old) == files
    assert prepare("llp/base", tfds, folder).data_path == new.data_path
    assert "not what" not in capsys.readouterr().out and read == [folder], "found prepared"


def test_labels_are_those_of_the_folder_that_is_named(folder, tfds, tmp_path):
    other = write_published(tmp_path / "OTHER", BASE, seed=1)
    replace_text(other / "AVVP_test_pd.csv", "Blender", "Clapping")
    builders = [prepare("llp/base", tfds, each) for each in (folder, other, folder)]
    labels = [[x["weak_label"] for x in b.as_data_source("test")] for b in builders]
    features = [b.as_data_source("val")[0]["vggish"] for b in builders]
    assert (np.array(labels[0]) == labels[2]).all() and (np.array(labels[0]) != labels[1]).any()
    assert (features[0] == features[2]).all() and (features[0] != features[1]).any()


def test_unchanged_files_are_not_read(folder, tfds, monkeypatch, tmp_path, read):
    again = prepare("llp/base", tfds, folder)
    moved = folder.rename(tmp_path / "MOVED")
    assert prepare("llp/base", tfds, moved).data_path == again.data_path
    (moved / "feats/vggish/._testvideo01.npy").touch()
    (moved / "feats/vggish/notes.txt").touch()
    shutil.copy(moved / "AVVP_train.csv", moved / "copy.csv")
    assert prepare("llp/base", tfds, moved).data_path == again.data_path
    assert not read


def test_features_may_be_deleted_after_preparing(folder, tfds, capsys):
    first = prepare("llp/base", tfds, folder)
    shutil.rmtree(folder / "feats/res152")
    assert prepare("llp/base", tfds, folder).data_path == first.data_path
    shutil.rmtree(folder / "feats")
    assert prepare("llp/base", tfds, folder).data_path == first.data_path
    capsys.readouterr()
    shutil.rmtree(folder)
    assert prepare("llp/base", tfds, folder).data_path == first.data_path
    assert capsys.readouterr().err == ""


def test_what_came_from_a_folder_that_is_gone_is_found_again(folder, tfds, tmp_path, capsys):
    other = write_published(tmp_path / "OTHER", BASE, seed=1)
    beside = prepare("llp/base", tfds, other)
    shutil.rmtree(other)
    capsys.readouterr()
    assert prepare("llp/base", tfds, other).data_path == beside.data_path
    assert capsys.readouterr().err == ""
    time.sleep(0.01)
    (tfds / "llp/base/1.0.0/metadata.json").touch()  # prepared last
    assert prepare("llp/base", tfds).data_path == tfds / "llp/base/1.0.0"
    assert "latest of 2" in capsys.readouterr().err
    assert prepare("llp/base", tfds, tmp_path / "TYPO").data_path == tfds / "llp/base/1.0.0"
    said = capsys.readouterr().err
    assert "TYPO: no published files" in said and str(folder) in said


def test_data_from_before_sources_were_recorded_is_prepared_again(folder, tfds, capsys):
    path = tfds / "llp/base/1.0.0/metadata.json"
    path.write_text(path.read_text().replace('"source"', '"other"'))
    assert place_of(prepare("llp/base", tfds, folder))
    assert "which was not recorded" in capsys.readouterr().out


def test_declared_sets_notice_too(folder, tmp_path, capsys):
    config = LlpConfig(name="mine", streams=BASE)
    builder = llp.Llp(config=config, data_dir=tmp_path / "tfds")
    download = llp.tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=download)
    assert place_of(prepare("llp/mine", tmp_path / "tfds", folder)) == ""
    extracted_anew(folder)
    assert place_of(prepare("llp/mine", tmp_path / "tfds", folder))


def test_another_process_opens_the_same_place(folder, tfds):
    extracted_anew(folder)
    beside = prepare("llp/base", tfds, folder)
    number = place_number(place_of(beside))
    assert 0 < number < 2**31 and place_named(number) == place_of(beside)
    assert place_named(place_number("")) == ""
    os.utime(folder / "feats/vggish/valvideo_01.npy")  # files on its disk have other times
    same = prepare("llp/base", tfds, folder, place=place_named(number))
    assert same.data_path == beside.data_path
    elsewhere = prepare("llp/base", tfds.parent / "disk2", folder, place=place_named(number))
    assert place_of(elsewhere) == place_of(beside)
    assert len(elsewhere.as_data_source("test")) == len(TEST)
