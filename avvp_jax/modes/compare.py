"""Compares work directories: means, confidence intervals, and tests of their differences.

Scores on different data stand side by side, each with its data, but are not tested.
"""

from collections.abc import Sequence
from functools import partial

from avvp_jax.data.prepared import MADE_UP
from avvp_jax.errors import UserError
from avvp_jax.methods import METHODS
from avvp_jax.metrics.statistics import p_values, summary
from avvp_jax.modes.results import SPLITS, Result, has_scores, read_result
from avvp_jax.reports.tables import (
    SYNTHETIC_NOTE,
    dense_note,
    fewer_note,
    p_table,
    scores_table,
)
from avvp_jax.task import LLP


def compare(workdirs: Sequence[str]) -> str:
    """Tables of several work directories' scores, and of tests of each against the first.

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
    (name, first), *others = results
    tests, untested = {}, []
    for workdir, other in others:
        if not first.scored.same(other.scored):
            untested.append(f"{workdir} and {name}: not tested, because their data differ")
            continue
        paired = is_paired(first, other)
        test = "paired t-test" if paired else "Welch's t-test"
        tests[f"{workdir} and {name} ({test})"] = p_values(first.seeds, other.seeds, paired=paired)
    tables = [_scores(results, bool(untested)), ""]
    names = {name for _, result in results for seed in result.seeds for name in seed}
    return "\n".join([*tables, *([p_table(tests, names)] if tests else []), *untested])


def _scores(results: Sequence[tuple[str, Result]], mark: bool) -> str:
    """The table of scores; if `mark`, each row says which data it is of."""
    rows, notes = {}, []
    for workdir, (_, scored, seeds, *_) in results:
        stats, number = summary(seeds), f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
        of = str(scored) if mark else scored.fewer
        rows[f"{workdir} ({'; '.join(filter(None, (number, of)))})"] = stats["mean"]
        if len(seeds) > 1:
            rows[f"{workdir} +-95 %"] = stats["ci95"]
        if scored.fewer:
            notes.append(fewer_note(f"{workdir}, {scored.split}", scored.fewer))
        if scored.dense is not None and scored.videos:
            notes.append(dense_note(f"{workdir}, {scored.split}", scored.dense, scored.videos))
    every = [result for _, result in results]
    published = [METHODS[method].published for method in dict.fromkeys(r.method for r in every)]
    if any(result.task != LLP for result in every):
        published = []
    if any(result.scored.dataset in MADE_UP for result in every):
        notes.insert(0, SYNTHETIC_NOTE)
    splits = sorted({result.scored.split for result in every})
    datasets = sorted({result.scored.dataset for result in every})
    title = f"split {' and '.join(splits)} of {' and '.join(datasets)}"
    return (
        f"{title}\n{scores_table(rows, list(filter(None, published)), list(filter(None, notes)))}"
    )


def is_paired(one: Result, other: Result) -> bool:
    """Whether two runs have the same config and the same seeds."""
    same_seeds = [ten.get("seed") for ten in one.seeds] == [ten.get("seed") for ten in other.seeds]
    return same_seeds and one.config is not None and one.config == other.config
