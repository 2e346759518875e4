"""The modes of launch.py, in this process, on nine videos."""

import csv
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import avvp_jax
from avvp_jax.errors import UserError
from avvp_jax.interchange.torch_files import read_published
from avvp_jax.methods import stages_of
from avvp_jax.metrics.scores import NAMES
from avvp_jax.modes import run
from avvp_jax.streams import data_spec
from avvp_jax.training.checkpoints import Checkpoints, restore_best
from avvp_jax.training.selection import take_seed
from avvp_jax.training.sequence import final_stage
from tests.tfds_llp.published_folder import TEST, VAL


@pytest.fixture
def workdir(tmp_path) -> str:
    return str(tmp_path / "W")


@pytest.fixture
def trained(finished, workdir) -> str:
    """A copy of a finished run."""
    return str(shutil.copytree(finished("han").workdir, workdir))


def scores(workdir: str | Path, split: str, weights: str = "") -> dict:
    """The scores in a work directory: of the weights there, or of others."""
    result = json.loads(Path(workdir, f"scores_{split}.json").read_text())
    assert result.pop("weights") == (weights or str(workdir))
    return result


def model(config, workdir: str | Path) -> dict:
    stage = final_stage(config, stages_of(config))
    shapes = stage.best(config, data_spec(config.data.streams), config.num_seeds)
    best = restore_best(f"{workdir}/{stage.name}", shapes)
    return jax.device_get(take_seed(best, 0)[0])


def assert_identical(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_training_leaves_scores_tables_curves_and_checkpoints(finished):
    _, workdir, _ = finished("han")
    for split, videos in (("val", VAL), ("test", TEST)):
        result = scores(workdir, split)
        assert set(NAMES) <= result.keys()
        assert result["method"] == "han"
        assert result["dataset"] == "llp/base"
        assert result["seed"] == 1
        assert result["epoch"] in (1, 2)
        assert result["videos"] == len(videos)
        with open(f"{workdir}/per_video_{split}.csv") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert [row["filename"] for row in rows] == list(videos)
        mean = np.mean([float(row["segment/audio"]) for row in rows])
        np.testing.assert_allclose(mean, result["segment/audio"], atol=1e-3)
    assert sorted(path.name for path in (workdir / "train/latest").iterdir()) == ["2", "4"]
    page = (workdir / "report.html").read_text()
    for part in ("scores", "curves", "classes", "confusions", "videos", "again"):
        assert f'<section id="{part}"' in page
    assert all(video in page for video in (*VAL, *TEST))
    assert "kept: epoch" in page and "stage train</dt>" in page


def test_an_interrupted_run_ends_as_one_that_was_not(config, finished, tmp_path, monkeypatch):
    """Stopped after the first epoch's checkpoint, then started again."""
    whole = finished("han").workdir
    interrupted = str(tmp_path / "interrupted")
    save = Checkpoints.save

    def stop_after(self, state, epoch, **options):
        save(self, state, epoch, **options)
        self.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", stop_after)
    with pytest.raises(KeyboardInterrupt):
        run(config, interrupted, "train")
    monkeypatch.undo()
    run(config, interrupted, "train")
    assert_identical(model(config, whole), model(config, interrupted))
    assert scores(whole, "test") == scores(interrupted, "test")


def test_a_finished_run_started_again_only_scores_again(config, finished, trained):
    before = finished("han").workdir
    run(config, trained, "train")
    assert_identical(model(config, before), model(config, trained))
    assert scores(trained, "test") == scores(before, "test")


def test_eval_repeats_the_scores_of_training(config, finished, trained):
    page = Path(trained) / "report.html"
    page.unlink()
    run(config, trained, "eval")
    assert scores(trained, "test") == scores(finished("han").workdir, "test")
    assert 'id="curves"' in page.read_text()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_folder_of_videos_that_is_not_there_is_refused_at_the_start(config, workdir, mode):
    config.report.videos = "/no/such/folder"
    with pytest.raises(UserError, match="config.report.videos=/no/such/folder: is no folder"):
        run(config, workdir, mode)


def test_predict_writes_probabilities_and_events(config, trained, tmp_path):
    config.eval.plots = 1
    run(config, trained, "predict")
    predicted = np.load(f"{trained}/predictions_test.npz")
    assert predicted["filename"].tolist() == list(TEST)
    assert predicted["id"].tolist() == [name.rsplit("_", 2)[0] for name in TEST]
    assert predicted["frame_prob"].shape == (3, 10, 2, 25)
    for name in ("frame_prob", "global_prob", "audio_prob", "visual_prob"):
        assert predicted[name].dtype == np.float32
    # The events are what the probabilities say: both filters by hand.
    segments = predicted["frame_prob"] >= 0.5
    segments &= (predicted["global_prob"] >= 0.5)[:, None, None]
    for index, modality in enumerate(("audio", "visual")):
        with open(f"{trained}/events_test_{modality}.csv") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        covered = sum(int(row["offset"]) - int(row["onset"]) for row in rows)
        assert covered == segments[:, :, index].sum()
    assert (tmp_path / f"W/timelines/test/{next(iter(TEST))}.png").stat().st_size > 1000


def test_predict_takes_a_folder_without_annotations(config, trained, published_folder):
    run(config, trained, "predict")
    config.data.features_only = str(published_folder)
    run(config, trained, "predict")
    alone = np.load(f"{trained}/predictions_features.npz")
    split = np.load(f"{trained}/predictions_test.npz")
    rows = [alone["id"].tolist().index(video) for video in split["id"]]
    np.testing.assert_allclose(alone["frame_prob"][rows], split["frame_prob"], atol=1e-6)


OTHERS = [
    ({"method": "valor"}, "is a run of han; load it without another method"),
    ({"method": "han", "model": {"heads": 2}}, "a run has its own model; load it without"),
]


@pytest.mark.parametrize(("given", "says"), OTHERS, ids=str)
def test_a_run_is_not_loaded_as_another_model(trained, given, says):
    with pytest.raises(UserError, match=says):
        avvp_jax.load(trained, **given)


def test_a_loaded_parser_predicts_one_or_many_videos(config, trained, published_folder):
    run(config, trained, "predict")
    split = np.load(f"{trained}/predictions_test.npz")
    parser = avvp_jax.load(trained)
    folders = {"vggish": "vggish", "resnet152": "res152", "r2plus1d": "r2plus1d_18"}
    features = {
        name: np.stack([np.load(published_folder / f"feats/{f}/{v}.npy") for v in split["id"]])
        for name, f in folders.items()
    }
    many = parser.predict(features)
    np.testing.assert_allclose(many.frame_prob, split["frame_prob"], atol=1e-6)
    one = parser.predict({name: x[1] for name, x in features.items()})
    np.testing.assert_allclose(one.global_prob, many.global_prob[1:2], atol=1e-6)
    assert len(many.events) == 3
    assert many.events[1].keys() == {"audio", "visual"}
    with pytest.raises(UserError, match="features lack resnet152"):
        parser.predict({"vggish": features["vggish"], "r2plus1d": features["r2plus1d"]})
    with pytest.raises(UserError, match="vggish"):
        parser.predict(features | {"vggish": features["vggish"][:, :, :5]})


def test_export_writes_what_import_reads_back(config, workdir, tmp_path, published_state):
    """A published file through --mode=export is unchanged; a trained one keeps its predictions."""
    config.model.width = config.model.feed_forward = 512
    state = published_state("han", 2)
    torch.save({k: torch.from_numpy(v) for k, v in state.items()}, tmp_path / "in.pt")
    config.init_from, config.export_to = str(tmp_path / "in.pt"), str(tmp_path / "out.pt")
    run(config, workdir, "export")
    assert_identical(read_published(config.export_to).state, state)
    config.init_from = config.export_to
    run(config, workdir, "eval")
    assert scores(workdir, "test", config.init_from)["epoch"] is None
    parser = avvp_jax.load(config.export_to)
    assert parser.streams == ("vggish", "resnet152", "r2plus1d")


def test_training_starts_from_given_weights(config, trained, tmp_path):
    config.init_from = trained
    config.schedule.learning_rate = 1e-12
    run(config, str(tmp_path / "continued"), "train")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8),
        model(config, trained),
        model(config, str(tmp_path / "continued")),
    )


def test_splits_are_checked_before_training(config, workdir):
    for splits, message in ((("val", "dev"), "'dev'"), (("train",), "no dense annotations")):
        config.eval.splits = splits
        with pytest.raises(UserError, match=message):
            run(config, workdir, "train")


def test_a_model_of_other_shapes_is_refused(config, trained):
    config.model.width = 32
    with pytest.raises(UserError, match="trained with config.model.width=16, not 32"):
        run(config, trained, "eval")
    config.init_from = "nowhere.pt"
    with pytest.raises(UserError, match="nowhere.pt"):
        run(config, trained, "eval")


def test_without_tensorflow_numbers_go_to_json(config, workdir, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "clu.metric_writers", None)
    run(config, workdir, "train")
    assert "TensorFlow is not installed" in capsys.readouterr().out
    with open(f"{workdir}/metrics.jsonl") as file:
        lines = [json.loads(line) for line in file]
    assert lines[0]["hparams"]["method"] == "han"
    epochs = [line for line in lines if "train/loss" in line]
    assert [line["step"] for line in epochs] == [1, 2]
    wanted = {"train/gradient_norm", "train/learning_rate"}
    wanted |= {"train/videos_per_second", "train/seconds"}
    wanted |= {"train/loss/audio", "train/loss/visual", "train/loss/global"}
    assert wanted | {f"val/{name}" for name in NAMES} <= epochs[0].keys()


@pytest.mark.usefixtures("tensorboard")
def test_tensorboard_shows_curves_pictures_and_parameters(config, workdir):
    pytest.importorskip("tensorflow")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config.eval.plots = 1
    run(config, workdir, "train")
    events = EventAccumulator(f"{workdir}/tensorboard", size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    wanted = {"train/loss", "train/gradient_norm", "train/learning_rate", "parameters"}
    wanted |= {f"val/{name}" for name in NAMES} | {f"test_best/{name}" for name in NAMES}
    assert wanted <= tags
    assert [event.step for event in events.Tensors("train/loss")] == [1, 2]
    assert f"timelines/test/{next(iter(TEST))}" in tags
