"""Files that systems leave are passed over wherever folders are listed."""

import os
import pathlib
import shutil

import pytest

from avvp_jax.data.prepared import load_features, open_dataset
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import has_begun
from avvp_jax.modes import run
from avvp_jax.storage.left_behind import is_left_behind, own_names
from avvp_jax.streams import data_spec
from tests.run_files import last_state
from tests.tfds_llp.published_folder import VIDEOS

LEFT = [".DS_Store", "._ID.npy", "._4", "Thumbs.db", "desktop.ini", "Desktop.ini", "~$notes.npy"]
LEFT += [".ID.npy.Xa81sB", ".syncthing.ID.npy.tmp", "~syncthing~ID.npy.tmp", ".ID.npy", "Icon\r"]
LEFT += [".nfs0000", ".4.orbax", "ehthumbs.db"]
LEFT_FOLDERS = [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".Trashes", "$RECYCLE.BIN"]
LEFT_FOLDERS += ["System Volume Information", "lost+found"]
OWN = ["ID.npy", "-leadingdash.npy", "_underscore_.npy", "ID (1).npy", "~ID.npy", "4", "best"]
OWN += ["AP0061o0Nvk.npy", "thumbs.npy", "$ID.npy", "HAN.pt"]


def litter(folder: pathlib.Path) -> None:
    """Leaves in a folder what systems leave."""
    for name in LEFT:
        (folder / name).write_bytes(b"\0\5\26\7")
    for name in LEFT_FOLDERS:
        (folder / name).mkdir()
        (folder / name / "ID.npy").write_bytes(b"\0\5\26\7")


def litter_everywhere(root: pathlib.Path) -> None:
    for folder in [path for path in [root, *root.rglob("*")] if path.is_dir()]:
        litter(folder)


def test_names_are_told_apart(tmp_path):
    assert all(map(is_left_behind, LEFT + LEFT_FOLDERS))
    assert not any(map(is_left_behind, OWN))
    litter(tmp_path)
    (tmp_path / "ID.npy").touch()
    assert own_names(tmp_path) == ["ID.npy"]
    assert own_names(tmp_path / "nothing") == []


def test_a_folder_of_features_is_read_past_them(published_folder, tmp_path):
    shutil.copytree(published_folder / "feats", tmp_path / "feats", copy_function=os.link)
    litter_everywhere(tmp_path)
    assert load_features(str(tmp_path), data_spec("base")).ids == sorted(VIDEOS)


def test_a_folder_with_nothing_else_has_no_features(tmp_path):
    (tmp_path / "feats/vggish").mkdir(parents=True)
    litter_everywhere(tmp_path)
    with pytest.raises(UserError, match="no feature files"):
        load_features(str(tmp_path), data_spec("base"))


def test_prepared_data_is_read_past_them(config, data_dir, tmp_path):
    open_dataset(config.data)  # prepared, if no test before has
    # The rest of the folder may change meanwhile.
    shutil.copytree(data_dir / "llp/base", tmp_path / "tfds/llp/base", copy_function=os.link)
    litter_everywhere(tmp_path / "tfds")
    config.data.data_dir, config.data.manual_dir = str(tmp_path / "tfds"), ""
    assert len(open_dataset(config.data).as_data_source()["val"]) == 2


def test_published_files_are_prepared_past_them(config, published_folder, tmp_path):
    shutil.copytree(published_folder, tmp_path / "DATA", copy_function=os.link)
    litter_everywhere(tmp_path / "DATA")
    (tmp_path / "tfds/llp/base").mkdir(parents=True)
    litter_everywhere(tmp_path / "tfds")
    config.data.data_dir = str(tmp_path / "tfds")
    config.data.manual_dir = str(tmp_path / "DATA")
    assert len(open_dataset(config.data).as_data_source()["train"]) == 4


def test_a_run_goes_on_and_is_evaluated_past_them(config, finished, tmp_path, capsys):
    whole, workdir = finished("han").workdir, tmp_path / "W"
    shutil.copytree(whole, workdir)
    shutil.rmtree(workdir / "train/latest/4")
    litter_everywhere(workdir)
    run(config, str(workdir), "train")
    printed = capsys.readouterr()
    assert "train: going on after epoch 1" in printed.out
    assert "warning" not in printed.err
    assert last_state(workdir, "train") == last_state(whole, "train")
    run(config, str(workdir), "eval")
    config.init_from = str(workdir)
    run(config, str(tmp_path / "W2"), "eval")


@pytest.mark.parametrize("place", ["train/latest", "train/best", "train/seeds_1-2/latest"])
def test_no_run_has_begun_where_only_they_are(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    litter(tmp_path / place)
    assert not has_begun(str(tmp_path))
    (tmp_path / place / "4").mkdir()
    assert has_begun(str(tmp_path))
