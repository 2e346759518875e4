"""docs/results.md, from the records of finished runs (see results.py)."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from refinement import COLUMNS, cells, rates
from results_records import DENOISERS, Record

from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.statistics import summary
from avvp_jax.task import MODALITIES
from tfds_llp.synthetic_labels import PSEUDO_FALSE_ALARM, PSEUDO_HIT_RATE

TITLES = {"han": "HAN", "ma": "MA", "jomold": "JoMoLD", "dhhn": "DHHN", "cmpae": "CMPAE"}
TITLES |= {"valor": "VALOR", "valor:plus": "VALOR+", "valor:plus_plus": "VALOR++"}
TITLES |= {"leap": "LEAP", "mm_cse": "MM-CSE"}
TRAINING_SEEDS = 3  # of a run
WIDTH = 100

TEN = "seg A | V | AV | Type | Event | evt A | V | AV | Type | Event"
MEANS = f"method | runs | {TEN}"
EACH = f"method | data | seed | {TEN}"
FOUND = f"method | data | {' | '.join(COLUMNS)}"

SYNTHETIC = """**These are synthetic data, made up from a seed; the numbers say nothing about LLP.**
They show that the methods work and in which order they come, with shortened schedules
(configs/*.py:synthetic)."""
SPREAD = f"""Test F-scores in percent: means ± standard deviations over the runs of a method, which
are {TRAINING_SEEDS} training seeds on each data set, the same on all. It is the sample standard
deviation of single runs, where data set and training seed both differ, and not the error of the
mean."""
KINDS = f"""DHHN is the refinement. The rows of VALOR, LEAP and MM-CSE see more: teachers' labels of
segments ({PSEUDO_HIT_RATE:.0%} of the true ones found, {PSEUDO_FALSE_ALARM:.0%} false), and VALOR++
and MM-CSE the clearer features of CLAP and CLIP. In most runs of LEAP and MM-CSE the best epoch on
val is the last of the short schedule."""
COMMAND = f"""Each run. The seeds of a data set train together, each as it would alone (`python
launch.py --config=configs/METHOD.py:synthetic --config.data.synthetic_seed=DATA
--config.num_seeds={TRAINING_SEEDS} --workdir=W`):"""
PROBE = """A linear map from one segment's features to the weak label, trained to convergence,
reaches a segment Type@AV of 19 to 21 on these sets, 25 to 29 with the best threshold for val."""
LLP = """Scores on LLP need the real features and are not filled in yet. The published ones stand in
the README and beside every table that launch.py prints."""

Run = tuple[str, int]  # method and data set


def page(
    asked: Mapping[Run, Sequence[int]], records: Sequence[Record], config_flags: Sequence[str]
) -> str:
    """The page.

    Args:
      asked: the training seeds of all runs that it should have.
      records: of those that are finished, in the same order.
      config_flags: what changed their configs.
    """
    left_out = missing(asked, records)
    blocks = ["# Results", "## Synthetic data", made_with(records, config_flags), SYNTHETIC]
    blocks += [left_out] * bool(left_out) + [SPREAD, means(records), KINDS, COMMAND]
    blocks += [each_run(records), PROBE, *noise_found(records), "## LLP", LLP]
    return "\n\n".join(block if block.startswith("|") else filled(block) for block in blocks) + "\n"


def filled(text: str) -> str:
    """A paragraph as the documentation has it: short lines, and a space before the percent sign."""
    text = re.sub(r"(\d)%", r"\1 %", " ".join(text.split()))
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def made_with(records: Sequence[Record], config_flags: Sequence[str]) -> str:
    """The command, and the software, devices and dates of the runs."""
    starts = [start for record in records for start in record.starts]
    versions = ", ".join(sorted({record.jax for record in records}))
    dates = sorted({start["date"] for start in starts})
    command = " ".join(["python benchmarks/results.py", *config_flags])
    days = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "unknown date"
    where = ", ".join(sorted({start["device"] for start in starts})) or "unknown device"
    return f"Made with `{command}` (JAX {versions}; {where}; {days})."


def missing(asked: Mapping[Run, Sequence[int]], records: Sequence[Record]) -> str:
    """Which runs the page lacks; empty if it has all."""
    lines, by_run = [], {(record.name, record.data): record for record in records}
    for (name, data), seeds in asked.items():
        run = f"{TITLES[name]} on data set {data}"
        if (name, data) not in by_run:
            lines.append(run)
            continue
        left = set(seeds) - {ten["seed"] for ten in by_run[name, data].scores}
        lines += [f"{run}, seed {seed} (diverged)" for seed in sorted(left)]
    return f"**Missing: {'; '.join(lines)}.**" if lines else ""


def means(records: Sequence[Record]) -> str:
    """A row for each method: means and standard deviations over all its runs."""
    rows = []
    for name, title in TITLES.items():
        runs = [ten for record in records if record.name == name for ten in record.scores]
        if not runs:
            continue
        mean, std = (summary(runs)[key] for key in ("mean", "std"))
        spread = {key: f" ± {std[key]:.1f}" if len(runs) > 1 else "" for key in NAMES}
        ten_cells = [f"{mean[key]:.1f}{spread[key]}" for key in NAMES]
        rows.append([title, str(len(runs)), *ten_cells])
    return table(MEANS, rows)


def each_run(records: Sequence[Record]) -> str:
    """A row for each training seed on each data set."""
    rows = []
    for record in records:
        for ten in record.scores:
            ten_cells = [f"{ten[key]:.1f}" for key in NAMES]
            rows.append([TITLES[record.name], str(record.data), str(ten["seed"]), *ten_cells])
    return table(EACH, rows)


def noise_found(records: Sequence[Record]) -> list[str]:
    """The section on modality noise; nothing if no method that finds it has finished."""
    counted = [record for record in records if record.noise is not None]
    if not counted:
        return []
    every = [seed for record in counted for seed in record.noise]
    base = {name: rates(every, (name,))["base"] for name in MODALITIES}
    base["both"] = rates(every)["base"]
    text = """A weak label is noise in a modality that its video's true segment labels lack. Of all
    labels, {both:.0%} are noise ({visual:.0%} in the visual modality,
    {audio:.0%} in the audio one). What the methods remove of it, means over training seeds,
    from `python benchmarks/refinement.py WORKDIR...`:"""
    rows = [[TITLES[r.name], str(r.data), *cells(r.noise)] for r in counted]
    blocks = ["### Modality noise found", text.format(**base), table(FOUND, rows)]
    removed, text = [], "{} removes {removed:,.0f} of {labels:,.0f} audio labels"
    for name in DENOISERS:
        if denoised := [seed for r in counted if r.name == name for seed in r.noise]:
            removed.append(text.format(TITLES[name], **rates(denoised, ("audio",))))
    if removed:
        text = """here, on average: in a small batch the floor of ratio times positives is 0 for the
        small audio ratios."""
        blocks.append(", ".join(removed) + f" {text}")
    return blocks
