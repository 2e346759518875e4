"""Files named by ID, or by ID_START_END, which lets two videos be cut from one YouTube video."""

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS, STREAMS
from tests.tfds_llp.published_folder import TRAIN, VIDEOS, replace_text, write_published
from tfds_llp.elaborate import arguments, run
from tfds_llp.prepare import prepare

SUBFOLDERS = [STREAMS[name].folder for name in STREAM_SETS["clip_clap"]]
SUBFOLDERS += PSEUDO_LABELS.values()


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["clip_clap"], pseudo_labels=True)


def cut_from_one(folder, subfolders=SUBFOLDERS):
    """Makes a test video another part of the first training video, with files of its own."""
    replace_text(folder / "AVVP_test_pd.csv", "testvideo01_0_10", "trainvideo1_0_10")
    for name in ("audio", "visual"):
        path = folder / f"AVVP_eval_{name}.csv"
        path.write_text(path.read_text().replace("testvideo01_0_10", "trainvideo1_0_10"))
    for subfolder in subfolders:
        rename(folder / subfolder, "testvideo01", "trainvideo1_0_10")
        rename(folder / subfolder, "trainvideo1", "trainvideo1_30_40")


def rename(folder, old, new):
    (folder / f"{old}.npy").rename(folder / f"{new}.npy")


def examples(builder):
    return {
        example["filename"].decode(): example
        for split in ("train", "val", "test")
        for example in builder.as_data_source(split)
    }


def same(one, other):
    return all((one[name] == other[name]).all() for name in ("clip", "clap", "r2plus1d"))


def test_two_videos_are_cut_from_one(folder, tmp_path, capsys):
    before = examples(prepare("llp/clip_clap", tmp_path / "before", folder))
    cut_from_one(folder)
    after = examples(prepare("llp/clip_clap", tmp_path / "after", folder))
    assert "share their YouTube id with another: 2" in capsys.readouterr().out
    assert same(after["trainvideo1_0_10"], before["testvideo01_0_10"])
    assert same(after["trainvideo1_30_40"], before["trainvideo1_30_40"])
    assert not same(after["trainvideo1_30_40"], after["trainvideo1_0_10"])
    ids = [example["id"].decode() for example in after.values()]
    assert sorted(ids) == sorted({*VIDEOS, "trainvideo1_30_40", "trainvideo1_0_10"}
                                 - {"trainvideo1", "testvideo01"})  # fmt: skip


def test_files_named_by_both_are_read_by_the_whole_name(folder, tmp_path):
    before = examples(prepare("llp/clip_clap", tmp_path / "before", folder))
    for subfolder in SUBFOLDERS[:3]:
        one, other = (np.load(folder / subfolder / f"{name}.npy") for name in VIDEOS[:2])
        assert (one != other).any()
        np.save(folder / subfolder / f"{list(TRAIN)[0]}.npy", other)
    after = examples(prepare("llp/clip_clap", tmp_path / "after", folder))
    first, second = list(TRAIN)[:2]
    assert same(after[first], before[second]) and after[first]["id"] == before[first]["id"]


def test_all_files_may_have_whole_names(folder, tmp_path):
    before = examples(prepare("llp/clip_clap", tmp_path / "before", folder))
    for name, example in before.items():
        for subfolder in SUBFOLDERS:
            rename(folder / subfolder, example["id"].decode(), name)
    after = examples(prepare("llp/clip_clap", tmp_path / "after", folder))
    assert all(same(after[name], before[name]) for name in before)


def test_the_name_of_one_video_may_be_the_id_of_another(folder, tmp_path):
    """Each keeps its own file, also where that makes two videos of one source."""
    before = examples(prepare("llp/clip_clap", tmp_path / "before", folder))
    replace_text(folder / "AVVP_test_pd.csv", "testvideo03_7_17", "trainvideo1_30_40_5_15")
    for subfolder in SUBFOLDERS:
        rename(folder / subfolder, "testvideo03", "trainvideo1_30_40")
    after = examples(prepare("llp/clip_clap", tmp_path / "after", folder))
    assert same(after["trainvideo1_30_40"], before["trainvideo1_30_40"])
    assert same(after["trainvideo1_30_40_5_15"], before["testvideo03_7_17"])
    cut_from_one(folder, ())
    for subfolder in SUBFOLDERS:
        rename(folder / subfolder, "trainvideo1_30_40", "trainvideo1_30_40_5_15")
        rename(folder / subfolder, "testvideo01", "trainvideo1_0_10")
        rename(folder / subfolder, "trainvideo1", "trainvideo1_30_40")
    after = examples(prepare("llp/clip_clap", tmp_path / "again", folder))
    assert same(after["trainvideo1_30_40_5_15"], before["testvideo03_7_17"])
    assert len({example["id"] for example in after.values()}) == len(VIDEOS)


@pytest.mark.parametrize("lacking", SUBFOLDERS[:3])
def test_one_file_for_two_videos_is_refused(folder, tmp_path, lacking):
    cut_from_one(folder, [each for each in SUBFOLDERS if each != lacking])
    with pytest.raises(UserError, match="files of their own") as refusal:
        prepare("llp/clip_clap", tmp_path / "data", folder)
    assert f"{lacking}/trainvideo1_0_10.npy" in str(refusal.value)


def test_teachers_label_both(folder, tmp_path):
    cut_from_one(folder)
    logits = tmp_path / "logits"
    logits.mkdir()
    for path in (folder / "CLIP/features").iterdir():
        np.save(logits / path.name, np.full((10, 25), 100.0 * (path.stem == "trainvideo1_0_10")))
    out = tmp_path / "labels"
    command = ["--teacher", "CLIP", "--data", folder, "--logits", logits, "--out", out]
    run(arguments().parse_args(list(map(str, command))))
    labels = {path.stem: np.load(path).sum() for path in out.iterdir()}
    assert labels.keys() == {path.stem for path in logits.iterdir()}
    assert [name for name, found in labels.items() if found] == ["trainvideo1_0_10"]
