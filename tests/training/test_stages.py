"""Methods of several stages: run, skipped, asked for alone, interrupted, fed from outside."""

import dataclasses
import json
import pathlib
import pickle
import shutil

import jax
import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.weights import read_all_weights
from avvp_jax.methods import stages_of
from avvp_jax.methods.cmpae.thresholds import read_thresholds
from avvp_jax.modes import run
from avvp_jax.reports.class_tables import tables_in
from avvp_jax.reports.writers import Silent
from avvp_jax.training.run import whole_run
from avvp_jax.training.sequence import final_stage
from avvp_jax.training.stages import Training
from tests.kills import instead_of, run_and_kill, when_saved

STAGES = {"ma": ("base", "estimate", "retrain"), "jomold": ("estimator", "ratios", "denoise")}
CMPAE = {"cmpae": ("estimator", "ratios", "train", "thresholds")}
FILES = {"ma": "estimate/removed_labels.npz", "jomold": "ratios/noise_ratios.npz"}
FILES |= {"cmpae": "thresholds/thresholds.npz"}
# Modules of methods/.
WRITERS = {"ma": "ma.removed_labels", "jomold": "jomold.noise_ratios"}
WRITERS |= {"ratios": "jomold.noise_ratios", "thresholds": "cmpae.thresholds"}


def best_models(workdir: pathlib.Path) -> dict:
    """stage -> the parameters of its best model."""
    config = recall(str(workdir))
    made = whole_run(config, str(workdir), stages_of(config))
    trained = [stage for stage in made.stages if isinstance(stage, Training)]
    return {stage.name: jax.device_get(stage.models(made)) for stage in trained}


def results(workdir: pathlib.Path) -> dict:
    """Everything a finished run leaves that a reader compares."""
    artefacts = {}
    for path in workdir.glob("*/*.npz"):
        with np.load(path) as file:
            artefacts |= {f"{path.name} {name}": file[name] for name in file.files}
    scores = json.loads((workdir / "scores_test.json").read_text())
    return {"scores": scores, "artefacts": artefacts}


def assert_same(one: pathlib.Path, two: pathlib.Path) -> None:
    first, second = results(one), results(two)
    assert without_place(first["scores"]) == without_place(second["scores"])
    assert first["artefacts"].keys() == second["artefacts"].keys() != set()
    jax.tree.map(np.testing.assert_array_equal, first["artefacts"], second["artefacts"])
    jax.tree.map(np.testing.assert_array_equal, best_models(one), best_models(two))


def without_place(result: dict) -> dict:
    """Scores without the path of the weights, which differs between work directories."""
    return {key: value for key, value in result.items() if key != "weights"}


@pytest.mark.parametrize("method", STAGES | CMPAE)
def test_stages_run_in_order(finished, method):
    stages = (STAGES | CMPAE)[method]
    places = [finished(method).printed.index(f"{stage}: starting") for stage in stages]
    assert places == sorted(places)


@pytest.mark.parametrize("method", STAGES | CMPAE)
def test_finished_stages_are_skipped(small_config, finished, tmp_path, capsys, method):
    workdir = shutil.copytree(finished(method).workdir, tmp_path / "W")
    stamp = (workdir / FILES[method]).stat().st_mtime_ns
    run(small_config(method), str(workdir), "train")
    printed = capsys.readouterr().out
    for stage in (STAGES | CMPAE)[method]:
        assert f"{stage}: finished before" in printed
    assert (workdir / FILES[method]).stat().st_mtime_ns == stamp
    assert_same(finished(method).workdir, workdir)


@pytest.mark.parametrize("method", STAGES)
def test_stages_one_at_a_time_end_as_all_at_once(
    small_config, finished, tmp_path, monkeypatch, method
):
    """Even where the file that a stage leaves was interrupted while it was written."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    config, workdir = small_config(method), tmp_path / "W"
    for stage in STAGES[method]:
        config.stages = (stage,)
        if stage == STAGES[method][1]:
            with monkeypatch.context() as patched:
                patched.setattr(f"avvp_jax.methods.{WRITERS[method]}.write_npz", stop)
                with pytest.raises(KeyboardInterrupt):
                    run(config, str(workdir), "train")
            assert not (workdir / FILES[method]).exists()
        run(config, str(workdir), "train")
    assert_same(finished(method).workdir, workdir)


def test_unknown_and_premature_stages_are_refused(small_config, tmp_path):
    config = small_config("ma")
    config.stages = ("base,denoise",)  # as the command line gives it
    with pytest.raises(UserError, match="names denoise; ma has base, estimate, retrain"):
        run(config, str(tmp_path / "W"), "train")
    config.stages = ("retrain",)
    with pytest.raises(UserError, match="run estimate first"):
        run(config, str(tmp_path / "W"), "train")
    config.stages = ("estimate",)
    with pytest.raises(UserError, match="is not finished; run base first"):
        run(config, str(tmp_path / "W"), "train")


@pytest.mark.parametrize("method", STAGES)
def test_somebody_elses_artefact_replaces_the_first_two_stages(
    small_config, finished, tmp_path, method
):
    config, artefact = small_config(method), tmp_path / "theirs.npz"
    shutil.copy(finished(method).workdir / FILES[method], artefact)
    if method == "ma":
        config.ma.removed_labels = str(artefact)
    else:
        config.jomold.noise_ratios = str(artefact)
    run(config, str(tmp_path / "last"), "train")
    assert not (tmp_path / "last" / STAGES[method][0]).exists()
    scores = [
        json.loads((workdir / "scores_test.json").read_text())
        for workdir in (finished(method).workdir, tmp_path / "last")
    ]
    assert without_place(scores[0]) == without_place(scores[1])


def test_removed_labels_of_other_videos_are_refused(small_config, tmp_path):
    lists = [[[] for _ in range(25)] for _ in range(2)]
    lists[0][24] = [0]  # the first training video has no Clapping
    (tmp_path / "theirs.pkl").write_bytes(pickle.dumps(lists))
    config = small_config("ma")
    config.ma.removed_labels = str(tmp_path / "theirs.pkl")
    with pytest.raises(UserError, match="do not have: trainvideo1"):
        run(config, str(tmp_path / "W"), "train")
    assert not list((tmp_path / "W").iterdir())  # the right file may be given next


def test_the_noise_estimator_is_evaluated_without_cross_modal_attention(
    small_config, finished, tmp_path
):
    config, workdir = small_config("jomold"), str(tmp_path / "W")
    shutil.copytree(finished("jomold").workdir, workdir)
    final = predictions(config, workdir)
    config.eval.stage = "estimator"
    estimator = predictions(config, workdir, "estimator/")
    # By hand: the estimator's weights in a network whose config turns the attention off.
    config.eval.stage, config.model.cross_attention = "", False
    shutil.copytree(f"{workdir}/estimator", f"{workdir}/off/denoise")
    shutil.copy(f"{workdir}/config.json", f"{workdir}/off/config.json")
    config.init_from = f"{workdir}/off"
    by_hand = predictions(config, workdir)
    np.testing.assert_array_equal(estimator, by_hand)
    assert not np.array_equal(estimator, final)
    config.eval.stage = "ratios"
    with pytest.raises(UserError, match="jomold trains estimator, denoise"):
        run(config, workdir, "eval")


def test_each_stage_is_judged_by_its_own_thresholds(finished):
    """CMPAE's estimator at a half; a value that is given for the last stage is the last one's."""
    config, workdir, _ = finished("cmpae")
    config = config.copy_and_resolve_references()
    config.eval.segment_threshold = 0.3
    found = {}
    for name in ("estimator", "train"):
        config.eval.stage = name
        stage = final_stage(config, stages_of(config))
        network = stage.result_network(config, recall_spec(str(workdir)))
        (weights,) = read_all_weights(str(workdir), network, config, name)
        found[name] = weights.decision
    assert (found["estimator"].segment, found["estimator"].video) == (0.5, 0.5)
    thresholds = read_thresholds(str(workdir / "thresholds/thresholds.npz")).tolist()
    assert found["train"].segment == 0.3
    assert found["train"].video == ((0.45,) * 25, tuple(thresholds))


def test_without_dense_labels_on_val_thresholds_are_the_usual_ones(finished, tmp_path):
    config, workdir, _ = finished("cmpae")
    workdir = shutil.copytree(workdir, tmp_path / "W")
    (workdir / FILES["cmpae"]).unlink()
    made = whole_run(config, str(workdir), stages_of(config))
    made.data._splits["val"] = dataclasses.replace(made.data.val, truth=None)
    made.stages[-1].run(made, Silent())
    assert read_thresholds(str(workdir / FILES["cmpae"])).tolist() == [0.45] * 25


def predictions(config, workdir: str, folder: str = "") -> np.ndarray:
    run(config, workdir, "predict")
    return np.load(f"{workdir}/{folder}predictions_test.npz")["frame_prob"]


def test_ratios_and_removals_are_shown(finished):
    _, workdir, printed = finished("jomold")
    assert (workdir / "ratios/noise_ratios.png").stat().st_size > 1000
    assert "noise ratio" in printed
    assert list(tables_in(str(workdir))) == ["ratios/noise_ratios.table.json"]
    table = tables_in(str(workdir))["ratios/noise_ratios.table.json"]
    assert table.text() in printed and table.text() in (workdir / "log.txt").read_text()
    page = (workdir / "report.html").read_text()
    assert "ratios/noise_ratios.table.json" in page and "Stage estimator" in page
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    shares = [
        line["denoise/train/removed/visual"] for line in lines if "denoise/train/loss" in line
    ]
    assert len(shares) == 2
    assert shares[0] == 0  # the published warm-up spares the first epoch


@pytest.mark.parametrize("method", ["ma", "cmpae"])  # JoMoLD in test_chaos.py
def test_a_pipeline_killed_in_each_stage_ends_as_one_that_was_not(
    small_config, finished, tmp_path, capsys, method
):
    config, workdir = small_config(method), tmp_path / "0"
    first, second, third, *fourth = (STAGES | CMPAE)[method]
    written = [
        instead_of(f"avvp_jax.methods.{WRITERS.get(stage) or WRITERS[method]}.write_npz")
        for stage in (second, *fourth)
    ]
    moments = [when_saved(first, 2), written[0], when_saved(third, 2), *written[1:]]
    for index, where in enumerate(moments):
        running, workdir = workdir, tmp_path / f"{index + 1}"
        run_and_kill(config, running, workdir, where)
    run(config, str(workdir), "train")
    printed = capsys.readouterr().out
    for stage in (first, third):
        assert f"{stage}: going on after epoch 1" in printed
    assert_same(finished(method).workdir, workdir)
