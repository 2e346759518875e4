"""Work directories side by side: means, confidence intervals, and tests of their differences."""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avvp_jax.errors import UserError
from avvp_jax.scores import NAMES
from avvp_jax.settings import flat_config, recall
from avvp_jax.statistics import p_values, summary
from avvp_jax.tables import scores_table

# What runs of one config may differ in, for the test to be a paired one.
SEEDS_ASIDE = ("num_seeds", "seeds_at_once", "pick_seed", "stages", "export_to")


class Result(NamedTuple):
    """The test scores of a work directory: of each seed, and what the run was."""

    method: str
    seeds: list[dict]
    config: dict


def read_result(workdir: str, split: str) -> Result:
    """The scores of a finished run.

    Raises:
      UserError: there are none, or they are damaged.
    """
    path = os.path.join(workdir, f"scores_{split}.json")
    try:
        with open(path) as file:
            record = json.load(file)
        seeds = record.get("seeds", [record])
        for ten in seeds:
            _ = [float(ten[name]) for name in NAMES]
        method = record["method"]
    except FileNotFoundError:
        raise UserError(f"{path}: not there; run --mode=eval --workdir={workdir} first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged ({error}); run --mode=eval --workdir={workdir} again"
        ) from error
    flat = flat_config(recall(workdir))
    return Result(method, seeds, {k: v for k, v in flat.items() if k not in SEEDS_ASIDE})


def compare(workdirs: Sequence[str], split: str = "test") -> str:
    """A table of several work directories' scores; every one is tested against the first.

    Raises:
      UserError: fewer than two work directories, or one without scores.
    """
    if len(workdirs) < 2:
        raise UserError(
            "--mode=compare needs work directories: python launch.py --mode=compare W1 W2"
        )
    results = {workdir: read_result(workdir, split) for workdir in workdirs}
    rows = {}
    for workdir, result in results.items():
        stats = summary(result.seeds)
        rows[f"{workdir} ({len(result.seeds)} seeds)"] = stats["mean"]
        if len(result.seeds) > 1:
            rows[f"{workdir} +-95 %"] = stats["ci95"]
    methods = {result.method for result in results.values()}
    lines = [scores_table(rows, *methods if len(methods) == 1 else ())]
    first, *others = results.items()
    for workdir, result in others:
        paired = is_paired(first[1], result)
        p = p_values(first[1].seeds, result.seeds, paired=paired)
        test = "paired t-test" if paired else "Welch's t-test"
        label = f"p, {workdir} against {first[0]} ({test})"
        lines.append(f"{label}: {p_line(p)}")
    return "\n".join(lines)


def is_paired(one: Result, other: Result) -> bool:
    """Whether the runs are of one config and of the same seeds."""
    same_seeds = [ten.get("seed") for ten in one.seeds] == [ten.get("seed") for ten in other.seeds]
    return same_seeds and one.config == other.config


def p_line(p: np.ndarray) -> str:
    """Every score's name and p."""
    shown = ("-" if np.isnan(x) else f"{x:.3f}" for x in p)
    return "  ".join(f"{name} {x}" for name, x in zip(NAMES, shown, strict=True))
