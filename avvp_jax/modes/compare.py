"""Compares work directories: means, confidence intervals, and tests of their differences."""

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.schema import fields_of
from avvp_jax.experiment.settings import flat_config
from avvp_jax.methods import METHODS
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.statistics import p_values, summary
from avvp_jax.reports.tables import p_table, scores_table
from avvp_jax.storage.reading import DamagedFile, is_there, read_bytes
from avvp_jax.task import LLP, Task

SPLITS = ("test", "val")


class Result(NamedTuple):
    """The scores in a work directory.

    Attributes:
      method, dataset: as in the config.
      seeds: the scores of each seed.
      config: dotted key -> value; None if the scores are those of published weights.
      task: what was parsed.
    """

    method: str
    dataset: str
    seeds: list[dict]
    config: dict | None
    task: Task = LLP


def read_result(workdir: str, split: str) -> Result:
    """Reads the scores of a finished run, or of published weights; without diverged seeds.

    Raises:
      UserError: there are no scores, or they are damaged.
    """
    path = os.path.join(workdir, f"scores_{split}.json")
    if not is_there(path):
        raise UserError(f"{path}: not there; run --mode=eval --workdir={workdir} first")
    way_out = f"run --mode=eval --workdir={workdir} again"
    try:
        record = json.loads(read_bytes(path))
        seeds = [ten for ten in record.get("seeds", [record]) if not ten.get("diverged")]
        method, dataset = record["method"], record["dataset"]
        good = method in METHODS and isinstance(dataset, str) and seeds
        good = good and all(0 <= float(ten[name]) <= 100 for ten in seeds for name in NAMES)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    # OverflowError: an integer too large for a float. RecursionError: brackets nested too deeply.
    except (
        ValueError,
        OverflowError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(f"{path}: damaged ({cause(error)}); {way_out}") from error
    if not good:
        raise UserError(
            f"{path}: damaged (it holds no method and its scores from 0 to 100); {way_out}"
        )
    seeds = [ten | {name: float(ten[name]) for name in NAMES} for ten in seeds]
    if not is_there(os.path.join(workdir, "config.json")):
        return Result(method, dataset, seeds, None)
    config = recall(workdir)
    aside = {
        key
        for key, field in fields_of(config.method).items()
        if field.free_in_pairs or field.free_on_resume
    }
    kept = {key: value for key, value in flat_config(config).items() if key not in aside}
    return Result(method, dataset, seeds, kept, recall_spec(workdir).task)


def compare(workdirs: Sequence[str]) -> str:
    """Tables of several work directories' scores, and of tests of each against the first.

    Scores are those on test, or on val if a work directory has none on test.

    Raises:
      UserError: fewer than two work directories, or one without scores.
    """
    if len(workdirs) < 2:
        raise UserError(
            "--mode=compare needs work directories: python launch.py --mode=compare W1 W2"
        )
    split = next((s for s in SPLITS if all(map(partial(has_scores, split=s), workdirs))), SPLITS[0])
    results = [(workdir, read_result(workdir, split)) for workdir in workdirs]
    rows, tests = {}, {}
    for workdir, result in results:
        stats, seeds = summary(result.seeds), len(result.seeds)
        rows[f"{workdir} ({seeds} seed{'s' * (seeds > 1)})"] = stats["mean"]
        if seeds > 1:
            rows[f"{workdir} +-95 %"] = stats["ci95"]
    (name, first), *others = results
    for workdir, other in others:
        paired = is_paired(first, other)
        test = "paired t-test" if paired else "Welch's t-test"
        tests[f"{workdir} and {name} ({test})"] = p_values(first.seeds, other.seeds, paired=paired)
    methods = list(dict.fromkeys(result.method for _, result in results))
    datasets = sorted({result.dataset for _, result in results})
    tables = [f"split {split} of {' and '.join(datasets)}"]
    published = [row for method in methods if (row := METHODS[method].published)]
    if any(result.task != LLP for _, result in results):
        published = []
    tables.append(scores_table(rows, published, "llp/synthetic" in datasets))
    return "\n".join([*tables, "", p_table(tests)])


def has_scores(workdir: str, split: str) -> bool:
    return is_there(os.path.join(workdir, f"scores_{split}.json"))


def is_paired(one: Result, other: Result) -> bool:
    """Whether two runs have the same config and the same seeds."""
    same_seeds = [ten.get("seed") for ten in one.seeds] == [ten.get("seed") for ten in other.seeds]
    return same_seeds and one.config is not None and one.config == other.config
