"""Modes on data with dense labels of some videos or none: scores, selection, files and export."""

import csv
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch

import avvp_jax
from avvp_jax.data.dataset import Dataset
from avvp_jax.errors import UserError
from avvp_jax.interchange.state_dicts import to_published
from avvp_jax.methods import METHODS
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES
from avvp_jax.modes import run
from avvp_jax.modes.compare import compare
from avvp_jax.modes.export import notes_on_task
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP, MODALITIES, Task
from tests.metrics import plain_scores
from tests.programs import still
from tests.short_clips import variables_of
from tests.tfds_llp.own_labels import ONE, SETS, STRIKES, prepare_own

LAYOUT = METHODS["han"].layout
RUNS = {
    "no dense labels in val": ("han", "", "weakly", ("segment/type", "video/ap")),
    "of some videos": ("han", "", "partly", ("video/visual_f", "segment/type")),
    "two parts, no test, one class": ("dhhn", "origin", "bare", (None, "video/audio_ap")),
}


DENSE = {
    (f"llp/{name}", split): dense
    for name, (_, splits) in SETS.items()
    for split, (_, dense) in splits.items()
}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A data_dir of those data sets; read it only."""
    return prepare_own(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def own_config(small_config, own, on_a_cpu):
    """(method, variant, data set) -> its small config."""

    def make(method, variant, dataset):
        config = small_config(method, variant)
        config.data.dataset, config.data.data_dir = f"llp/{dataset}", str(own)
        config.data.manual_dir = ""
        still(config)
        return config

    return make


@pytest.fixture(scope="module", params=RUNS.values(), ids=RUNS)
def trained(request, own_config, tmp_path_factory):
    """A finished run, its predictions, and the score that its lines show."""
    *what, (select, shown) = request.param
    config = own_config(*what)
    if select:
        config.eval.select = select
    config.eval.plots = 1
    workdir = tmp_path_factory.mktemp("own") / "W"
    run(config, str(workdir), "train")
    run(config, str(workdir), "predict")
    return SimpleNamespace(config=config, workdir=workdir, shown=shown)


def splits_of(trained):
    data = Dataset(trained.config.data)
    return [data.split(name) for name in data.held_out]


def test_scores_are_those_of_a_plain_count(trained):
    for split in splits_of(trained):
        probs = dict(np.load(trained.workdir / f"predictions_{split.name}.npz"))
        found = json.loads((trained.workdir / f"scores_{split.name}.json").read_text())
        means, _ = plain_scores.of_videos(probs, split.weak_label)
        assert {name: found[name] for name in VIDEO_NAMES} == pytest.approx(means, abs=1e-9)
        assert found["videos"] == len(split) and len(found["truth"]) == 16
        rows = np.arange(len(split))[split.dense_rows]
        assert found["dense"] == len(rows) == DENSE[trained.config.data.dataset, split.name]
        if split.truth is None:
            assert not set(NAMES) & set(found)
            continue
        predicted = plain_scores.predicted(probs, trained.config.eval.video_filter)
        wanted = plain_scores.ten(predicted[rows], split.truth[rows] > 0)
        assert {name: found[name] for name in NAMES} == pytest.approx(wanted, abs=1e-9)


def test_the_selected_epoch_is_said_and_remembered_as_asked(trained):
    record = json.loads((trained.workdir / "config.json").read_text())
    select = record["config"]["eval"]["select"]
    asked = trained.config.eval.select
    assert select == (list(asked) if isinstance(asked, tuple) else asked)
    with open(trained.workdir / "metrics.jsonl") as file:
        epochs = [line for line in map(json.loads, file) if "train/loss" in line]
    assert len(epochs) == 2 and f"val/{trained.shown}" in epochs[0]
    ten = {f"val/{name}" for name in NAMES}
    densely = splits_of(trained)[0].truth is not None
    assert ten <= epochs[0].keys() if densely else not ten & epochs[0].keys()


def test_the_best_epoch_is_the_one_with_the_best_score(trained):
    with open(trained.workdir / "metrics.jsonl") as file:
        lines = [json.loads(line) for line in file]
    epochs = [line for line in lines if "train/loss" in line]
    found = json.loads((trained.workdir / "scores_val.json").read_text())
    chosen = found["epoch"] if isinstance(found["epoch"], int) else found["epoch"]["audio"]
    # What the run selects by: in "of some videos" it is not the score that lines show.
    asked = trained.config.eval.select
    name = asked if f"val/{asked}" in epochs[0] else trained.shown
    values = [line[f"val/{name}"] for line in epochs]
    assert values[chosen - 1] == pytest.approx(max(values))
    if isinstance(found["epoch"], int):  # all scores on the device are those of the host
        logged = {key.removeprefix("val/"): x for key, x in epochs[chosen - 1].items()}
        wanted = {key: x for key, x in found.items() if key in logged and key in ALL_NAMES}
        assert {key: logged[key] for key in wanted} == pytest.approx(wanted, abs=1e-3)
        assert set(VIDEO_NAMES) <= set(wanted)


def test_every_scored_file_names_the_classes(trained):
    for split in splits_of(trained):
        text = (trained.workdir / f"per_class_{split.name}.txt").read_text()
        assert all(name in text for name in split.task.classes) and "Speech" not in text
        heads = text.count("segment-level"), text.count("whole videos")
        assert heads == (split.truth is not None, 1)
        with open(trained.workdir / f"per_video_{split.name}.csv", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        labels = [int(row["video/found"]) + int(row["video/missed"]) for row in rows]
        assert labels == split.weak_label.sum(axis=1).tolist()
        scored = [row.get("segment/audio", "") != "" for row in rows]
        dense = [False] * len(split) if split.truth is None else split.dense
        assert scored == (list(dense) if dense is not None else [True] * len(split))
        assert (trained.workdir / f"timelines/{split.name}/{split.filenames[0]}.png").exists()


def test_events_are_read_back(trained):
    for split in splits_of(trained):
        probs = dict(np.load(trained.workdir / f"predictions_{split.name}.npz"))
        predicted = plain_scores.predicted(probs, trained.config.eval.video_filter)
        for index, modality in enumerate(MODALITIES):
            path = trained.workdir / f"events_{split.name}_{modality}.csv"
            read = np.zeros(predicted[:, :, index].shape, bool)
            with open(path, newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    start, stop = (float(row[x]) / split.task.seconds for x in ("onset", "offset"))
                    place = split.filenames.index(row["filename"])
                    number = split.task.classes.index(row["event_labels"])
                    read[place, int(start) : int(stop), number] = True
            np.testing.assert_array_equal(read, predicted[:, :, index])


def test_eval_and_compare_work_on_it(trained, capsys):
    before = (trained.workdir / "scores_val.json").read_text()
    run(trained.config, str(trained.workdir), "eval")
    printed = capsys.readouterr().out
    assert (trained.workdir / "scores_val.json").read_text() == before
    val = splits_of(trained)[0]
    if val.truth is None:
        assert "val: no dense annotations, so only whole videos are scored" in printed
    else:
        assert "val: segments and events are scored on 2 of 5 videos" in printed
    text = compare([str(trained.workdir)] * 2)
    assert "whole videos, percent" in text and "paper" not in text
    if trained.config.data.dataset == "llp/bare":
        assert "segment-level" not in text and "Speech" not in printed
        assert printed.count("there is no test split: it is left out") == 1


def test_what_selects_instead_is_said(own_config, tmp_path, capsys):
    config = own_config("han", "", "weakly")
    config.train.epochs, config.eval.select = 1, "last"
    run(config, str(tmp_path / "last"), "train")
    assert "models are selected by" not in capsys.readouterr().out
    config.eval.select = "mean/visual"
    run(config, str(tmp_path / "mean"), "train")
    printed = capsys.readouterr().out
    line = "val has no dense annotations: models are selected by video/ap instead of mean/visual\n"
    assert printed.count(line) == 1 and "val video AP" in printed


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("partly", "val: segments and events are scored on 2 of 5 videos"),
        ("weakly", "val: no dense annotations"),
        ("bare", "nothing to score the teachers' labels with"),
    ],
)
def test_teachers_are_scored_on_what_is_annotated(own_config, tmp_path, dataset, said):
    config = own_config("valor", "", dataset)
    config.stages = ("teachers",)
    run(config, str(tmp_path / "W"), "train")
    report = (tmp_path / "W/teachers/quality.txt").read_text()
    assert said in report
    assert ("test CLIP" in report) == (dataset != "bare")
    assert ("val CLIP" in report) == (dataset == "partly")


# ---- published files of another task


def published(task: Task, path) -> dict:
    """A published file of the task, with HAN's shapes."""
    variables = jax.device_get(variables_of(LAYOUT.file_network(data_spec("base", task))))
    state = to_published(variables, LAYOUT, {})
    torch.save({key: torch.from_numpy(np.array(value)) for key, value in state.items()}, path)
    return state


@pytest.mark.parametrize(("dataset", "task"), [("weakly", STRIKES), ("bare", ONE)])
def test_a_model_of_another_task_is_exported_with_a_note(
    own_config, tmp_path, capsys, dataset, task
):
    config = own_config("han", "", dataset)
    config.model.width = config.model.feed_forward = 512
    state = published(task, tmp_path / "in.pt")
    config.init_from, config.export_to = str(tmp_path / "in.pt"), str(tmp_path / "out.pt")
    run(config, str(tmp_path / "W"), "export")
    printed = capsys.readouterr().out
    assert f"put these {len(task.classes)} in this order for the list `categories`" in printed
    assert f"\n{list(task.classes)!r}\n" in printed
    assert f"its clips have 6 segments of {task.seconds:g} s" in printed
    parser = avvp_jax.load(config.export_to, task=task)
    features = {
        stream.name: np.zeros((stream.rows(task), stream.width), np.float32)
        for stream in data_spec("base", task).streams
    }
    prediction = parser.predict(features)
    assert prediction.task == task and prediction.frame_prob.shape == (1, 6, 2, len(task.classes))
    assert state["fc_prob.weight"].shape[0] == len(task.classes)
    if len(task.classes) > 1:
        with pytest.raises(UserError, match="and as task its 7 classes, not the 25 of LLP"):
            avvp_jax.load(config.export_to)


def test_of_llp_nothing_is_noted():
    assert notes_on_task(LLP) == []


@pytest.mark.parametrize("given", ["LLP", {"name": "x"}, 7])
def test_load_wants_a_task(tmp_path, given):
    with pytest.raises(UserError, match="task must be an avvp_jax.task.Task"):
        avvp_jax.load(tmp_path, task=given)
