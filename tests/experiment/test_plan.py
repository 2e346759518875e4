"""A training's plan: made without writing, refused before anything begins, and then fixed."""

import contextlib
import dataclasses
import json
import pathlib

import pytest

from avvp_jax.data import dataset
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.experiment.plan import check_task, make_plan
from avvp_jax.modes import run
from avvp_jax.modes.train import execute
from avvp_jax.runtime import processes
from avvp_jax.task import LLP


def test_planning_changes_no_config_and_writes_nothing(config, tmp_path):
    config.num_seeds, config.seeds_at_once = 3, 7
    before = config.to_json()
    plan = make_plan(config, str(tmp_path / "W"))
    assert config.to_json() == before
    assert plan.config.seeds_at_once == 3
    assert not (tmp_path / "W").exists()


def test_a_plan_is_the_same_after_it_was_carried_out(config, tmp_path):
    plan = make_plan(config, str(tmp_path / "W"))
    before = plan.config.to_json()
    execute_in(plan, tmp_path / "W")
    assert plan.config.to_json() == before
    stored = json.loads((tmp_path / "W/config.json").read_text())["config"]
    assert json.dumps(stored) == json.dumps(json.loads(before))  # in the same order too
    assert list(stored) == list(json.loads(config.to_json()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.workdir = "elsewhere"


def execute_in(plan, workdir: pathlib.Path) -> None:
    workdir.mkdir()
    execute(plan)


def test_a_plan_has_a_run_for_each_group_of_seeds(config, tmp_path):
    config.num_seeds, config.seeds_at_once, config.seed = 5, 2, 10
    plan = make_plan(config, str(tmp_path / "W"))
    assert [list(run.seeds) for run in plan.runs] == [[10, 11], [12, 13], [14]]
    assert plan.data.spec.task == LLP
    assert [split.name for split in plan.splits] == ["val", "test"]


def test_a_plan_knows_what_is_finished_and_runs_the_rest(small_config, tmp_path, capsys):
    config, workdir = small_config("ma"), str(tmp_path / "W")
    config.stages = ("base",)
    run(config, workdir, "train")
    config.stages = ()
    plan = make_plan(config, workdir)
    assert plan.finished == {(0, "base")}
    capsys.readouterr()
    execute(plan)
    printed = capsys.readouterr().out
    assert "base: finished before" in printed and "retrain: starting" in printed
    assert {name for _, name in make_plan(config, workdir).finished} == {
        stage.name for stage in plan.wanted
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pick_seed", 99, "the seeds of this run are 1"),
        ("stages", ("denoise",), "names denoise; han has train"),
        ("eval.splits", ("train",), "no dense annotations"),
        ("eval.stage", "other", "han trains train"),
        ("init_from", "no/such/file.pt", "no such checkpoint file"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    config, tmp_path, key, value, message
):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        make_plan(config, str(tmp_path / "W"))
    assert not (tmp_path / "W").exists()


@pytest.mark.parametrize(
    ("method", "score"), [("han", "video/ap"), ("cmpae", "video/mean_ap"), ("han", None)]
)
def test_a_val_without_dense_annotations_selects_by_its_labels(
    small_config, tmp_path, monkeypatch, method, score
):
    config, labelled = small_config(method), score is not None

    def undense(builder, name, *args, **how):
        split = load_split(builder, name, *args, **how)
        if name != "val":
            return split
        return dataclasses.replace(split, truth=None, weak_label=split.weak_label * labelled)

    monkeypatch.setattr(dataset, "load_split", undense)
    if labelled:
        plan = make_plan(config, str(tmp_path / "W"))
        assert plan.final.selects_by(plan.config, plan.data.val) == (score,)
        assert plan.config.eval.select == config.eval.select  # as asked
    else:
        with pytest.raises(UserError, match="split val has no video with a label"):
            make_plan(config, str(tmp_path / "W"))
    assert not (tmp_path / "W").exists()


def test_longer_clips_than_networks_are_made_for_are_refused(config, tmp_path, monkeypatch):
    def longer(builder, streams, spec_of=dataset.spec_of):
        spec = spec_of(builder, streams)
        return dataclasses.replace(spec, task=dataclasses.replace(spec.task, segments=61))

    check_task(dataclasses.replace(LLP, segments=60))
    monkeypatch.setattr(dataset, "spec_of", longer)
    with pytest.raises(UserError, match="clips have 61 segments; networks are made for up to 60"):
        make_plan(config, str(tmp_path / "W"))
    assert not (tmp_path / "W").exists()


def test_all_processes_of_a_run_ask_one_another_the_same(small_config, tmp_path, monkeypatch):
    """Also where only the first one looks at an artefact, which names training videos."""
    config, workdir = small_config("ma"), str(tmp_path / "W")
    config.stages, config.seeds_at_once = ("base", "estimate"), 1
    run(config, workdir, "train")
    config.stages = ("estimate", "retrain")
    asked = {True: [], False: []}
    for first in asked:

        def gathered(value, first=first):
            asked[first].append((value.shape, value.dtype))
            return value[None]

        monkeypatch.setattr(processes, "several", lambda: True)
        monkeypatch.setattr(processes, "first", lambda first=first: first)
        monkeypatch.setattr(processes, "gathered", gathered)
        monkeypatch.setattr(processes, "meet", lambda: None)
        with contextlib.suppress(UserError):  # alone, a process that is not the first finds nothing
            make_plan(config, workdir)
    shortest = min(map(len, asked.values()))
    assert shortest >= 5
    assert asked[True][:shortest] == asked[False][:shortest]


def test_a_damaged_artefact_is_named_where_its_stage_was_not_asked_for(
    small_config, tmp_path, capsys
):
    config, workdir = small_config("ma"), tmp_path / "W"
    config.stages = ("base", "estimate")
    run(config, str(workdir), "train")
    (workdir / "estimate/removed_labels.npz").write_bytes(b"damaged")
    config.stages = ("retrain",)
    with pytest.raises(UserError, match="run estimate first"):
        make_plan(config, str(workdir))
    assert "set aside as removed_labels.npz.damaged" in capsys.readouterr().err
    assert (workdir / "estimate/removed_labels.npz.damaged").exists()
