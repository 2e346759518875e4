"""Prepared data and the files that it was made from: other files are prepared beside."""

import os
import shutil

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.storage.locks import lock
from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS
from tests.tfds_llp.published_folder import TEST, replace_text, write_published
from tfds_llp import llp
from tfds_llp.configs import LlpConfig
from tfds_llp.places import place_named, place_number
from tfds_llp.prepare import prepare, prepare_in

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
    """Then the folder's latest is taken, although its annotations were the same before."""
    extracted_anew(folder)
    latest = prepare("llp/base", tfds, folder)
    capsys.readouterr()
    shutil.rmtree(folder / "feats")
    assert prepare("llp/base", tfds, folder).data_path == latest.data_path
    shutil.rmtree(folder)
    assert prepare("llp/base", tfds, folder).data_path == latest.data_path
    assert capsys.readouterr().err == ""


def without_features(other):
    shutil.rmtree(other / "feats")


def misnamed(other):
    (other / "feats").rename(other / "features")


def dead_links(other):
    for folder in (other / "feats").iterdir():
        shutil.rmtree(folder)
        folder.symlink_to(other / "nowhere")


def one_table_less(other):
    (other / "AVVP_train.csv").unlink()


REFUSED = {
    "missing feature files": without_features,
    "missing feature files (27)": misnamed,
    "is a link to": dead_links,
    "annotation files are missing: AVVP_train.csv": one_table_less,
    "no published files are there; what is prepared comes from": shutil.rmtree,
}


@pytest.mark.parametrize("words", REFUSED)
def test_another_folder_is_never_taken_for_the_one_that_was_prepared(folder, tfds, tmp_path, words):
    other = shutil.copytree(folder, tmp_path / "OTHER")
    REFUSED[words](other)
    with pytest.raises(UserError) as refusal:
        prepare("llp/base", tfds, other)
    assert words in str(refusal.value) and "OTHER" in str(refusal.value)


def test_what_came_from_a_folder_that_is_gone_is_found_again(folder, tfds, tmp_path, capsys):
    other = write_published(tmp_path / "OTHER", BASE, seed=1)
    beside = prepare("llp/base", tfds, other)
    shutil.rmtree(other)
    capsys.readouterr()
    assert prepare("llp/base", tfds, other).data_path == beside.data_path
    assert capsys.readouterr().err == ""
    assert prepare("llp/base", tfds).data_path == beside.data_path
    assert "latest of 2" in capsys.readouterr().err
    (tfds / "llp/base/1.0.0/metadata.json").touch()  # prepared last
    assert prepare("llp/base", tfds).data_path == tfds / "llp/base/1.0.0"


def test_data_from_before_sources_were_recorded_is_prepared_again(folder, tfds, capsys):
    path = tfds / "llp/base/1.0.0/metadata.json"
    path.write_text(path.read_text().replace('"source"', '"other"'))
    assert prepare("llp/base", tfds, folder.parent / "GONE").data_path == path.parent
    assert "whose files were not recorded" in capsys.readouterr().err
    assert prepare("llp/base", tfds, folder).data_path != path.parent
    assert "which was not recorded" in capsys.readouterr().out


def found_in(tfds, folder, dataset="llp/base", **more):
    wanted = {"manual_dir": folder, "allow_missing_features": False, "synthetic_seed": 0} | more
    return prepare_in(dataset, tfds, **wanted)


def test_declared_sets_notice_too(folder, tmp_path):
    config = LlpConfig(name="mine", streams=BASE)
    builder = llp.Llp(config=config, data_dir=tmp_path / "tfds")
    download = llp.tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=download)
    assert found_in(tmp_path / "tfds", folder, "llp/mine").place == ""
    extracted_anew(folder)
    assert found_in(tmp_path / "tfds", folder, "llp/mine").place
    again = llp.Llp(config=config, data_dir=tmp_path / "tfds")
    with pytest.raises(UserError, match="prepared from other files.*vggish"):
        again.download_and_prepare(download_config=download)


def test_another_process_opens_the_same_place(folder, tfds):
    extracted_anew(folder)
    beside = found_in(tfds, folder)
    number = place_number(beside.place)
    assert 0 < number < 2**31 and place_named(number) == beside.place
    assert place_named(place_number("")) == ""
    os.utime(folder / "feats/vggish/valvideo_01.npy")  # files on its disk have other times
    same = found_in(tfds, folder, place=place_named(number))
    assert same.builder.data_path == beside.builder.data_path
    elsewhere = found_in(tfds.parent / "disk2", folder, place=place_named(number))
    assert elsewhere.place == beside.place
    assert len(elsewhere.builder.as_data_source("test")) == len(TEST)


def test_what_a_run_was_trained_on_is_found_by_its_content(folder, tfds, capsys):
    content = dict(prepare("llp/base", tfds, folder).info.metadata.items())["content"]
    assert found_in(tfds, folder, content=content).place == ""
    extracted_anew(folder)
    latest = prepare("llp/base", tfds, folder)
    capsys.readouterr()
    assert found_in(tfds, folder, content=content).place == ""
    assert "not what this run was trained on (feats/vggish" in capsys.readouterr().out
    gone = content | {"test": "0" * 64}
    assert found_in(tfds, folder, content=gone).builder.data_path == latest.data_path


def test_two_processes_prepare_different_folders_at_once(folder, tmp_path, monkeypatch):
    """The second one waits for the lock while the first prepares another folder's files."""
    other = write_published(tmp_path / "OTHER", BASE, seed=1)
    holding, said = lock(str(tmp_path / "tfds/llp/.base.lock")), []

    def see(text, **_):
        if "waiting" in text:
            prepared = tmp_path / "elsewhere"
            prepare("llp/base", prepared, other)
            shutil.copytree(prepared, tmp_path / "tfds", dirs_exist_ok=True)
            holding.__exit__(None, None, None)
        said.append(text)

    monkeypatch.setattr("builtins.print", see)
    holding.__enter__()
    found = found_in(tmp_path / "tfds", folder)
    assert dict(found.builder.info.metadata.items())["source"]["folder"] == str(folder)
    assert found.place and any("preparing it beside" in text for text in said)


@pytest.mark.parametrize("name", ["from-lab", "from-abc", "from-0000001"])
def test_a_data_dir_may_have_any_name(folder, tmp_path, name):
    assert found_in(tmp_path / name, folder).place == ""
    (tmp_path / name / "from-backup/llp/base/1.0.0").mkdir(parents=True)  # renamed by hand
    extracted_anew(folder)
    assert place_number(found_in(tmp_path / name, folder).place)


def test_files_that_change_while_they_are_read_are_noticed(folder, tfds, monkeypatch):
    """Their data lies under the key of what was there before."""
    before = folder.parent / "BEFORE"
    extracted_anew(folder)
    shutil.copytree(folder, before)
    original = llp.source_in

    def change(*arguments):
        monkeypatch.setattr(llp, "source_in", original)
        extracted_anew(folder)
        return original(*arguments)

    monkeypatch.setattr(llp, "source_in", change)
    changed = found_in(tfds, folder)
    assert found_in(tfds, folder).builder.data_path == changed.builder.data_path
    shutil.rmtree(folder)
    before.rename(folder)
    assert found_in(tfds, folder).place not in ("", changed.place)
