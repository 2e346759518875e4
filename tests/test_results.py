"""docs/results.md is made from the files of finished runs, here from made-up ones."""

import argparse
import dataclasses
import json
import pathlib

import pytest

from avvp_jax.data.prepared import expected_spec
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import remember
from avvp_jax.metrics.scores import NAMES
from avvp_jax.training.run import all_seeds

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
COUNTS = {
    "audio": {"labels": 100, "noise": 10, "removed": 0, "found": 0},
    "visual": {"labels": 100, "noise": 40, "removed": 30, "found": 20},
}


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import results
    import results_records

    # What a run of JoMoLD is counted to have removed.
    of_seeds = [{"seed": seed} | COUNTS for seed in (6, 7, 8)]
    monkeypatch.setattr(results_records, "counted_apart", lambda workdir: of_seeds)
    return results


@pytest.fixture
def asked(tmp_path):
    """What the command line asks for: two methods on two data sets."""
    return argparse.Namespace(
        methods=["han", "jomold"],
        data_seeds=[0, 1],
        workdir=tmp_path,
        data_dir=None,
        page=tmp_path / "results.md",
        config_flags=["--config.train.epochs=1"],
    )


@pytest.fixture
def tasks(results, asked):
    """Those four runs, finished: scores are 10, 20 and 30 on data set 0, and 10 more on 1."""
    tasks = [results.make_task(asked, name, data) for name in asked.methods for data in (0, 1)]
    for task in tasks:
        task.workdir.mkdir()
        remember(task.config, str(task.workdir), expected_spec(task.config.data), {})
        write_scores(task, [10.0 * (place + task.data) for place in (1, 2, 3)])
        start = {"device": "1 x abacus", "date": f"2030-01-0{task.data + 1}"}
        (task.workdir / results.STARTS).write_text(json.dumps(start) + "\n")
    return tasks


def write_scores(task, values, **more):
    seeds = [
        dict.fromkeys(NAMES, value) | {"seed": seed, "epoch": 1}
        for seed, value in zip(all_seeds(task.config), values, strict=True)
    ]
    seeds[-1] |= more
    facts = {"method": task.config.method, "dataset": task.config.data.dataset}
    (task.workdir / "scores_test.json").write_text(json.dumps(facts | {"seeds": seeds}))


@pytest.fixture
def made(results, asked, monkeypatch):
    """A function that makes the page of some tasks as they are, and returns it."""
    monkeypatch.setattr(results, "train", lambda task, device: 2)

    def make(tasks):
        try:
            results.make(asked, tasks)
        except SystemExit as left_out:
            assert "failed" in str(left_out)
        return asked.page.read_text()

    return make


def rows_of(page, *start):
    """The cells of the rows of the page's tables that start with some cells."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [row for row in rows if tuple(row[: len(start)]) == start]


def test_the_page_has_means_and_every_run(made, asked, tasks):
    page = made(tasks)
    # Of 10, 20, 20, 30, 30 and 40.
    assert rows_of(page, "HAN", "6") == [["HAN", "6", *["25.0 ± 10.5"] * 10]]
    assert rows_of(page, "HAN", "1", "2") == [["HAN", "1", "2", *["30.0"] * 10]]
    assert len(rows_of(page, "JoMoLD")) == 1 + 6 + 2  # with those on modality noise
    assert "Missing" not in page
    text = " ".join(page.split())
    assert "`python benchmarks/results.py --config.train.epochs=1` (JAX " in text
    assert "; 1 x abacus; 2030-01-01 to 2030-01-02)." in text
    prose = [line for line in page.splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 100 and str(asked.workdir) not in page


def test_the_page_has_what_is_removed(made, tasks):
    page = made(tasks)
    shares = ["0.400", "0.667", "0.500", "0.667", "0.250", "0.400"]
    assert rows_of(page, "JoMoLD", "0", "30") == [["JoMoLD", "0", "30", *shares]]
    text = " ".join(page.split())
    assert "25 % are noise (40 % in the visual modality, 10 % in the audio one)" in text
    assert "JoMoLD removes 0 of 100 audio labels" in text


def test_the_page_says_what_is_missing(made, tasks):
    (tasks[1].workdir / "scores_test.json").unlink()
    write_scores(tasks[0], [10.0, 20.0, 0.0], diverged=True)
    page = made(tasks[:2])
    missing = "**Missing: HAN on data set 0, seed 3 (diverged); HAN on data set 1.**"
    assert missing in " ".join(page.split())
    assert rows_of(page, "HAN", "2")[0][2] == "15.0 ± 7.1"
    assert "Modality noise" not in page and not rows_of(page, "JoMoLD")


def test_only_what_is_not_finished_is_run(results, asked, tasks, monkeypatch):
    (tasks[1].workdir / "scores_test.json").unlink()
    run = []

    def train(task, device):
        run.append(task)
        write_scores(task, [1.0, 2.0, 3.0])
        return 0

    monkeypatch.setattr(results, "train", train)
    results.make(asked, tasks)
    results.make(asked, tasks)
    assert run == [tasks[1]]
    assert rows_of(asked.page.read_text(), "HAN", "1", "1")[0][3] == "1.0"


def test_a_failed_run_is_left_out(results, asked, tasks, monkeypatch):
    (tasks[1].workdir / "scores_test.json").unlink()
    monkeypatch.setattr(results, "train", lambda task, device: 2)
    with pytest.raises(SystemExit, match="failed: han-1"):
        results.make(asked, tasks)
    assert "HAN on data set 1" in asked.page.read_text()


def test_scores_of_another_config_are_refused(results, asked, tasks):
    (tasks[0].workdir / "train/latest/1").mkdir(parents=True)
    asked.config_flags = []
    with pytest.raises(UserError, match="train.epochs was 1 and is now 12"):
        results.finished(results.make_task(asked, "han", 0))


def test_what_is_known_of_a_run_needs_no_work_directory(results, asked, tasks, made):
    page = made(tasks)
    elsewhere = [dataclasses.replace(task, workdir=asked.workdir / "none") for task in tasks]
    assert made(elsewhere) == page


def test_records_of_another_config_are_refused(results, asked, tasks, made):
    made(tasks)
    asked.config_flags = []
    others = [results.make_task(asked, name, data) for name in asked.methods for data in (0, 1)]
    with pytest.raises(UserError, match="results.json: han on data set 0 is there with another"):
        results.make(asked, others)


def test_a_damaged_file_of_records_is_refused(results, asked, tasks):
    asked.page.with_suffix(".json").write_text('[{"name": "han"}]')
    with pytest.raises(UserError, match="results.json: no records of results.py"):
        results.make(asked, tasks)
