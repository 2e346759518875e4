"""Compares work directories: means, confidence intervals, and tests of their differences.

Scores on different data stand side by side, each with its data, but are not tested.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from jaxtyping import Float
from numpy import ndarray

from avvp_jax.data.prepared import MADE_UP
from avvp_jax.errors import UserError
from avvp_jax.methods import METHODS
from avvp_jax.metrics.statistics import p_values, summary
from avvp_jax.modes.results import SPLITS, Result, has_scores, read_result
from avvp_jax.reports.published_scores import Published
from avvp_jax.reports.tables import (
    SYNTHETIC_NOTE,
    dense_note,
    fewer_note,
    p_table,
    scores_table,
)
from avvp_jax.task import LLP

# Work directories with their results, in the order in which they are named.
Results = Sequence[tuple[str, Result]]


class Test(NamedTuple):
    """A test of whether two work directories differ: its name, and the p-value of every score."""

    name: str
    p: Float[ndarray, " names"]


def compare(workdirs: Sequence[str]) -> str:
    """Tables of several work directories' scores, and of tests of each against the first.

    Raises:
      UserError: see read_results.
    """
    return as_text(read_results(workdirs))


def read_results(workdirs: Sequence[str]) -> Results:
    """The results in work directories.

    Scores are those on test, or on val if a work directory has none on test. If there is no
    split on which all have scores, each has its own.

    Raises:
      UserError: fewer than two work directories, or one without scores.
    """
    if len(workdirs) < 2:
        raise UserError(
            "--mode=compare needs work directories: python launch.py --mode=compare W1 W2"
        )
    everywhere = [s for s in SPLITS if all(map(partial(has_scores, split=s), workdirs))]
    results = []
    for workdir in workdirs:
        there = everywhere or [s for s in SPLITS if has_scores(workdir, s)] or SPLITS
        results.append((workdir, read_result(workdir, there[0])))
    return results


def as_text(results: Results) -> str:
    """Results as tables for the terminal."""
    (name, first), *others = results
    tests, untested = {}, []
    for workdir, other in others:
        test = test_of(first, other)
        if test is None:
            untested.append(f"{workdir} and {name}: not tested, because their data differ")
        else:
            tests[f"{workdir} and {name} ({test.name})"] = test.p
    tables = [_scores(results, bool(untested)), ""]
    names = {name for _, result in results for seed in result.seeds for name in seed}
    return "\n".join([*tables, *([p_table(tests, names)] if tests else []), *untested])


def test_of(one: Result, other: Result) -> Test | None:
    """The test of two results; None if their data differ."""
    if not one.scored.same(other.scored):
        return None
    paired = is_paired(one, other)
    name = "paired t-test" if paired else "Welch's t-test"
    return Test(name, p_values(one.seeds, other.seeds, paired=paired))


def title_of(results: Results) -> str:
    """What was scored, in words."""
    splits = sorted({result.scored.split for _, result in results})
    datasets = sorted({result.scored.dataset for _, result in results})
    return f"split {' and '.join(splits)} of {' and '.join(datasets)}"


def papers_of(results: Results) -> list[Published]:
    """The papers' rows for the methods; none where something else than LLP was parsed."""
    if any(result.task != LLP for _, result in results):
        return []
    methods = dict.fromkeys(result.method for _, result in results)
    return [row for method in methods if (row := METHODS[method].published)]


def notes_of(results: Results) -> list[str]:
    """What to know about the data of scores, one line each."""
    notes = []
    if any(result.scored.dataset in MADE_UP for _, result in results):
        notes.append(SYNTHETIC_NOTE)
    for workdir, result in results:
        scored, of = result.scored, f"{workdir}, {result.scored.split}"
        if scored.fewer:
            notes.append(fewer_note(of, scored.fewer))
        if scored.dense is not None and scored.videos:
            notes.append(dense_note(of, scored.dense, scored.videos))
    return list(filter(None, notes))


def _scores(results: Results, mark: bool) -> str:
    """The table of scores; if `mark`, each row says which data it is of."""
    rows = {}
    for workdir, (_, scored, seeds, *_) in results:
        stats, number = summary(seeds), f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
        of = str(scored) if mark else scored.fewer
        rows[f"{workdir} ({'; '.join(filter(None, (number, of)))})"] = stats["mean"]
        if len(seeds) > 1:
            rows[f"{workdir} +-95 %"] = stats["ci95"]
    return f"{title_of(results)}\n{scores_table(rows, papers_of(results), notes_of(results))}"


def is_paired(one: Result, other: Result) -> bool:
    """Whether two runs have the same config and the same seeds."""
    same_seeds = [ten.get("seed") for ten in one.seeds] == [ten.get("seed") for ten in other.seeds]
    return same_seeds and one.config is not None and one.config == other.config
