"""A folder of one's own, from its tables to a trained parser and what it says of new videos."""

import json
import math
import shutil

import numpy as np
import pytest

from avvp_jax.data.prepared import expected_spec
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.settings import check_config
from avvp_jax.modes import run
from tests.programs import still
from tests.run_files import logged
from tests.tfds_llp.own.runs import CLASSES, TASK, write_features, write_video, write_videos

# DHHN's refinement begins with MA's first two stages.
METHODS = {"han": "", "ma": "", "jomold": "", "dhhn": "origin", "valor": ""}
METHODS |= {"leap": "", "mm_cse": "", "cmpae": ""}
pytestmark = pytest.mark.usefixtures("on_a_cpu")
# One clip in val, and a batch that is larger than train, in which Kettle_drum never is.
FEW = {"train": (6, 3, 6, 1, 6), "val": (6,), "test": (4, 6)}


def configured(config, data, root, **more):
    """A config on a folder."""
    config.data.dataset, config.data.manual_dir = "folder", str(data)
    config.data.data_dir, config.data.allow_missing_features = str(root / "tfds"), False
    for key, value in more.items():
        config.data[key] = value
    return config


def with_labels(data):
    """Adds labels of teachers, which say that all is in every segment."""
    for folder in ("CLIP", "CLAP"):
        (data / folder / "segment_pseudo_labels").mkdir(parents=True)
        for path in (data / "feats/r2plus1d_18").iterdir():
            labels = np.ones((len(np.load(path)) // 2, len(CLASSES)), np.int64)
            np.save(data / folder / "segment_pseudo_labels" / path.name, labels)
    return data


@pytest.fixture(scope="module", params=METHODS)
def trained(request, small_config, tmp_path_factory, on_a_cpu):
    """(config, workdir, DATA) of a method on features of clips of several lengths."""
    root = tmp_path_factory.mktemp(request.param)
    data = with_labels(write_features(root / "DATA", lengths=FEW))
    config = small_config(request.param, METHODS[request.param])
    streams = "base_frames" if request.param == "cmpae" else "base"
    config = configured(config, data, root, segments=6, segment_seconds=2.0, streams=streams)
    still(config)
    config.train.batch_size = 16
    for section in [config, config.base] if "base" in config else [config]:
        section.train.epochs = 1
    run(config, str(root / "W"), "train")
    return config, root / "W", data


def test_every_method_trains_and_scores_few_clips(trained):
    _, workdir, _ = trained
    assert recall_spec(str(workdir)).task == TASK
    for epoch in logged(workdir):
        assert all(math.isfinite(x) for name, x in epoch.items() if name.endswith("loss"))
    for split in ("val", "test"):
        scores = json.loads((workdir / f"scores_{split}.json").read_text())
        assert math.isfinite(scores["segment/type"]) and scores["annotated"] == len(FEW[split])
    look = (workdir / "first_look.txt").read_text()
    assert "never in train, and can never be learnt" in look and "Kettle_drum" in look
    assert "On this device: training about" in look


def test_a_work_directory_knows_its_data_when_the_folder_is_gone(trained, tmp_path):
    config, workdir, data = trained
    before = {x: json.loads((workdir / f"scores_{x}.json").read_text()) for x in ("val", "test")}
    data.rename(tmp_path / "GONE")
    try:
        expected = expected_spec(config.data)
        assert expected.task == TASK and expected.any_length
        for mode in ("eval", "predict", "train"):
            run(recall(str(workdir)), str(workdir), mode)
        probs = dict(np.load(workdir / "predictions_test.npz"))
    finally:
        (tmp_path / "GONE").rename(data)
    after = {x: json.loads((workdir / f"scores_{x}.json").read_text()) for x in ("val", "test")}
    assert after == before
    assert probs["frame_prob"].shape == (2, 6, 2, 7) and np.isfinite(probs["frame_prob"]).all()
    assert probs["lengths"].tolist() == [4, 6]
    assert not probs["frame_prob"][0, 4:].any() and probs["frame_prob"][0, :4].all()


def test_a_folder_of_features_says_how_long_its_clips_are(trained):
    _, workdir, data = trained
    config = recall(str(workdir))
    config.eval.splits = ("test",)
    run(config, str(workdir), "predict")
    config.data.features_only = str(data)
    run(config, str(workdir), "predict")
    split, folder = (
        dict(np.load(workdir / f"predictions_{name}.npz")) for name in ("test", "features")
    )
    rows = [folder["id"].tolist().index(name) for name in split["id"]]
    assert folder["lengths"][rows].tolist() == [4, 6] and len(folder["id"]) == sum(
        map(len, FEW.values())
    )
    np.testing.assert_allclose(folder["frame_prob"][rows], split["frame_prob"], atol=1e-6)


def test_valor_without_labels_or_videos_says_what_is_missing(small_config, tmp_path):
    data = write_features(tmp_path / "DATA", lengths=FEW)
    config = configured(small_config("valor"), data, tmp_path, segments=6, segment_seconds=2.0)
    with pytest.raises(UserError, match="segment_pseudo_labels") as told:
        run(config, str(tmp_path / "W"), "train")
    assert "\n" not in str(told.value)
    assert {path.name for path in (tmp_path / "W").iterdir()} <= {"first_look.txt", ".lock"}


@pytest.fixture(scope="module")
def filmed(small_config, tmp_path_factory, on_a_cpu):
    """(config, workdir, DATA) of videos without dense labels."""
    root = tmp_path_factory.mktemp("filmed")
    data = write_videos(root / "DATA")
    config = configured(small_config("han"), data, root, segments=3, streams="plain")
    config.extract.fidelity = "direct"
    still(config)
    run(config, str(root / "W"), "train")
    return config, root / "W", data


def test_videos_without_dense_labels_are_scored_as_a_whole(filmed):
    _, workdir, data = filmed
    assert (data / "feats/plain_sound/long_3.5_5.5.npy").exists()
    scores = json.loads((workdir / "scores_val.json").read_text())
    assert math.isfinite(scores["video/ap"]) and not (workdir / "scores_test.json").exists()


@pytest.mark.parametrize("seconds", [1, 3, 8])
def test_new_videos_are_parsed(filmed, seconds, tmp_path):
    config, workdir, _ = filmed
    video = write_video(tmp_path / "new.mp4", ["Red"] * seconds)
    assert run(recall(str(workdir)), str(workdir), "parse", [str(video)]) == 0
    with np.load(workdir / "parses/new.npz") as arrays:
        assert arrays["frame_prob"].shape == (seconds, 2, 2)
    assert (workdir / "parses/new.json").exists()


def test_a_short_video_is_parsed_as_its_features_are_predicted(filmed):
    _, workdir, data = filmed
    config = recall(str(workdir))
    config.data.features_only = str(data)
    run(config, str(workdir), "predict")
    predicted = dict(np.load(workdir / "predictions_features.npz"))
    row = predicted["id"].tolist().index("c")
    run(recall(str(workdir)), str(workdir), "parse", [str(data / "videos/c.mp4")])
    with np.load(workdir / "parses/c.npz") as parsed:
        assert len(parsed["frame_prob"]) == predicted["lengths"][row] == 2
        np.testing.assert_allclose(
            parsed["frame_prob"], predicted["frame_prob"][row, :2], atol=1e-6
        )
    assert not json.loads((workdir / "parses/c.json").read_text())["remarks"]


def test_a_run_goes_on_with_its_data_when_tables_change(filmed, tmp_path, capsys):
    config, workdir, data = filmed
    root = tmp_path / "copy"
    shutil.copytree(workdir.parent, root)
    config = configured(recall(str(root / "W")), root / "DATA", root)
    run(config, str(root / "W"), "eval")
    with open(root / "DATA/train.csv", "a") as file:
        file.write("f,Red,,\n")
    (root / "DATA/val.csv").write_text("filename\tevent_labels\ne\tRed\n")
    capsys.readouterr()
    run(config, str(root / "W"), "train")
    assert "not what this run was trained on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "key,value,said",
    [
        ("segments", 0, "config.data.segments=0 must be a whole number from 1 to 60"),
        ("segments", 61, "config.data.segments=61 must be a whole number from 1 to 60"),
        ("segment_seconds", 0.0, "config.data.segment_seconds=0.0 must be"),
        ("val_share", 1.0, "config.data.val_share=1.0 must be"),
        ("split_seed", -1, "config.data.split_seed=-1 must be"),
    ],
)
def test_keys_are_checked(small_config, key, value, said, tmp_path):
    config = configured(small_config("han"), tmp_path, tmp_path, **{key: value})
    with pytest.raises(UserError, match=said):
        check_config(config)


def test_a_record_of_before_gets_the_keys(trained, tmp_path):
    _, workdir, _ = trained
    record = json.loads((workdir / "config.json").read_text())
    for key in ("segments", "segment_seconds", "val_share", "split_seed"):
        del record["config"]["data"][key]
    (tmp_path / "config.json").write_text(json.dumps(record))
    assert recall(str(tmp_path)).data.segments == 10


@pytest.mark.parametrize("folder,said", [("", "needs the folder"), ("gone", "is no folder")])
def test_without_a_folder_nothing_begins(small_config, folder, said, tmp_path):
    where = folder and str(tmp_path / folder)
    config = configured(small_config("han"), where, tmp_path)
    with pytest.raises(UserError, match=said):
        run(config, str(tmp_path / "W"), "train")
    assert not (tmp_path / "tfds").exists()
