"""Trains every method on the built-in synthetic data, and writes docs/results.md from the scores.

  python benchmarks/results.py [--methods han jomold] [--data-seeds 0,1,2] [--workdir FOLDER]
                               [--data-dir FOLDER] [--page FILE] [--config.KEY=VALUE ...]

Each method on each data set is one run of launch.py, which trains three seeds together: the
config's and the two after it. Its work directory is FOLDER/METHOD-DATA. A finished run is not run
again, and an interrupted one goes on. The page has every finished run of FOLDER, says which are
missing, and takes all scores from the work directories.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import re
import subprocess
import sys
import textwrap

from absl import flags
from ml_collections import ConfigDict, config_flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from refinement import COLUMNS, cells, counts, rates
from throughput import ROOT, load_config, numbers

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import refuse_other_config
from avvp_jax.experiment.settings import absolute_paths
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.statistics import summary
from avvp_jax.modes.compare import has_scores, read_result
from avvp_jax.storage.writing import write_lines
from avvp_jax.task import MODALITIES
from avvp_jax.training.run import all_seeds
from tfds_llp.synthetic_labels import PSEUDO_FALSE_ALARM, PSEUDO_HIT_RATE

TITLES = {"han": "HAN", "ma": "MA", "jomold": "JoMoLD", "dhhn": "DHHN", "cmpae": "CMPAE"}
TITLES |= {"valor": "VALOR", "valor:plus": "VALOR+", "valor:plus_plus": "VALOR++"}
TITLES |= {"leap": "LEAP", "mm_cse": "MM-CSE"}
DATA_SEEDS, TRAINING_SEEDS = [0, 1, 2], 3
DENOISERS = ("jomold", "cmpae")
NOISE_FINDERS = ("ma", *DENOISERS)
# Exit codes of launch.py after which the same command goes on.
STOPPED = (75, 76, 130)
# In a work directory: where and when each start was, and what refinement.py counts.
STARTS, NOISE = "starts.jsonl", "modality_noise.json"
DEVICE = "import jax; print(jax.device_count(), 'x', jax.devices()[0].device_kind)"
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
and MM-CSE the clearer features of CLAP and CLIP. LEAP's short schedule ends while val improves."""
COMMAND = f"""Each run. The seeds of a data set train together, each as it would alone (`python
launch.py --config=configs/METHOD.py:synthetic --config.data.synthetic_seed=DATA
--config.num_seeds={TRAINING_SEEDS} --workdir=W`):"""
PROBE = """A linear map from one segment's features to the weak label, trained to convergence,
reaches a segment Type@AV of 19 to 21 on these sets, 25 to 29 with the best threshold for val."""
LLP = """Scores on LLP need the real features and are not filled in yet. The published ones stand in
the README and beside every table that launch.py prints."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One run of launch.py: a method on one data set."""

    name: str  # of the config: METHOD or METHOD:VARIANT
    data: int  # the data set's seed
    workdir: pathlib.Path
    flags: list[str]  # that change the config
    config: ConfigDict  # with these flags


def make_task(args: argparse.Namespace, name: str, data: int) -> Task:
    own = [f"--config.data.synthetic_seed={data}", f"--config.num_seeds={TRAINING_SEEDS}"]
    own += [f"--config.data.data_dir={args.data_dir}"] if args.data_dir else []
    own += args.config_flags
    values, argv = flags.FlagValues(), ["results.py", *own]
    config = config_flags.DEFINE_config_dict(
        "config", load_config(name), flag_values=values, sys_argv=argv
    )
    values(argv)
    folder = args.workdir / f"{name.replace(':', '_')}-{data}"
    return Task(name, data, folder, own, absolute_paths(config.value))


def finished(task: Task) -> bool:
    """Whether a run has its scores.

    Raises:
      UserError: they are those of another config.
    """
    if not has_scores(str(task.workdir), "test"):
        return False
    refuse_other_config(task.config, str(task.workdir))
    return True


def train(task: Task, device: str) -> int:
    """Runs launch.py, which goes on with what is there; returns its exit code."""
    task.workdir.mkdir(parents=True, exist_ok=True)
    start = {"device": device, "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"}
    with (task.workdir / STARTS).open("a") as file:
        file.write(json.dumps(start) + "\n")
    config, _, variant = task.name.partition(":")
    variant = ",".join(filter(None, (variant, "synthetic")))
    command = [sys.executable, str(ROOT / "launch.py"), f"--config=configs/{config}.py:{variant}"]
    command += [*task.flags, f"--workdir={task.workdir}"]
    print(f"\n{task.workdir.name}", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode


def train_all(tasks: list[Task]) -> None:
    """Trains what is not finished; a run that fails is left out, and the others go on."""
    if not tasks:
        return
    # In a process of its own: this one leaves the devices to the runs.
    asked = subprocess.run([sys.executable, "-c", DEVICE], stdout=subprocess.PIPE, check=True)
    for task in tasks:
        code = train(task, asked.stdout.decode().split("\n")[-2])
        if code in STOPPED:
            raise SystemExit(code)
        if code:
            print(f"{task.workdir.name} failed with exit code {code}", file=sys.stderr)


def find_noise(task: Task) -> None:
    """Counts the modality noise that a finished run has found, unless that is done."""
    path = task.workdir / NOISE
    if task.name in NOISE_FINDERS and not path.exists():
        write_lines(path, [json.dumps(counts(str(task.workdir)), indent=2)])


def page(tasks: list[Task], config_flags: list[str]) -> str:
    """The page, from the files of the tasks that are finished."""
    done = [task for task in tasks if finished(task)]
    results = {task: read_result(str(task.workdir), "test").seeds for task in done}
    left_out = missing(tasks, results)
    blocks = ["# Results", "## Synthetic data", made_with(done, config_flags), SYNTHETIC]
    blocks += [left_out] * bool(left_out) + [SPREAD, means(results), KINDS, COMMAND]
    blocks += [each_run(results), PROBE, *noise_found(done), "## LLP", LLP]
    return "\n\n".join(block if block.startswith("|") else filled(block) for block in blocks) + "\n"


def filled(text: str) -> str:
    """A paragraph as the documentation has it: short lines, and a space before the percent sign."""
    text = re.sub(r"(\d)%", r"\1 %", " ".join(text.split()))
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def table(head: str, rows: list[list[str]]) -> str:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def made_with(done: list[Task], config_flags: list[str]) -> str:
    """The command, and the software, devices and dates of the runs."""
    versions, devices, dates = set(), set(), set()
    for task in done:
        versions.add(json.loads((task.workdir / "config.json").read_text())["versions"]["jax"])
        starts = task.workdir / STARTS
        for line in starts.read_text().splitlines() if starts.exists() else ():
            devices.add(json.loads(line)["device"])
            dates.add(json.loads(line)["date"])
    command = " ".join(["python benchmarks/results.py", *config_flags])
    days = " to ".join(dict.fromkeys([min(dates), max(dates)])) if dates else "unknown date"
    where = ", ".join(sorted(devices)) or "unknown device"
    return f"Made with `{command}` (JAX {', '.join(sorted(versions))}; {where}; {days})."


def missing(tasks: list[Task], results: dict[Task, list[dict]]) -> str:
    """Which runs the page lacks; empty if it has all."""
    lines = []
    for task in tasks:
        run = f"{TITLES[task.name]} on data set {task.data}"
        if task not in results:
            lines.append(run)
            continue
        left = set(all_seeds(task.config)) - {ten["seed"] for ten in results[task]}
        lines += [f"{run}, seed {seed} (diverged)" for seed in sorted(left)]
    return f"**Missing: {'; '.join(lines)}.**" if lines else ""


def means(results: dict[Task, list[dict]]) -> str:
    """A row for each method: means and standard deviations over all its runs."""
    rows = []
    for name, title in TITLES.items():
        runs = [ten for task, seeds in results.items() if task.name == name for ten in seeds]
        if not runs:
            continue
        mean, std = (summary(runs)[key] for key in ("mean", "std"))
        spread = {key: f" ± {std[key]:.1f}" if len(runs) > 1 else "" for key in NAMES}
        ten_cells = [f"{mean[key]:.1f}{spread[key]}" for key in NAMES]
        rows.append([title, str(len(runs)), *ten_cells])
    return table(MEANS, rows)


def each_run(results: dict[Task, list[dict]]) -> str:
    """A row for each training seed on each data set."""
    rows = []
    for task, seeds in results.items():
        for ten in seeds:
            ten_cells = [f"{ten[key]:.1f}" for key in NAMES]
            rows.append([TITLES[task.name], str(task.data), str(ten["seed"]), *ten_cells])
    return table(EACH, rows)


def noise_found(done: list[Task]) -> list[str]:
    """The section on modality noise; nothing if no method that finds it has finished."""
    finders = [task for task in done if task.name in NOISE_FINDERS]
    counted = {task: json.loads((task.workdir / NOISE).read_text()) for task in finders}
    if not counted:
        return []
    every = [seed for seeds in counted.values() for seed in seeds]
    base = {name: rates(every, (name,))["base"] for name in MODALITIES}
    base["both"] = rates(every)["base"]
    text = """A weak label is noise in a modality that its video's true segment labels lack. Of all
    labels, {both:.0%} are noise ({visual:.0%} in the visual modality,
    {audio:.0%} in the audio one). What the methods remove of it, means over training seeds,
    from `python benchmarks/refinement.py WORKDIR...`:"""
    rows = [[TITLES[t.name], str(t.data), *cells(seeds)] for t, seeds in counted.items()]
    blocks = ["### Modality noise found", text.format(**base), table(FOUND, rows)]
    removed, text = [], "{} removes {removed:,.0f} of {labels:,.0f} audio labels"
    for name in DENOISERS:
        if denoised := [seed for t, seeds in counted.items() if t.name == name for seed in seeds]:
            removed.append(text.format(TITLES[name], **rates(denoised, ("audio",))))
    if removed:
        text = """here, on average: in a small batch the floor of ratio times positives is 0 for the
        small audio ratios."""
        blocks.append(", ".join(removed) + f" {text}")
    return blocks


def place(text: str) -> pathlib.Path:
    return pathlib.Path(text).expanduser().resolve()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=list(TITLES), help="to run; default all")
    parser.add_argument("--data-seeds", type=numbers, default=DATA_SEEDS, help="comma separated")
    parser.add_argument(
        "--workdir", type=place, default="runs/results", help="of all work directories"
    )
    parser.add_argument("--data-dir", type=place, help="prepared data; default that of the configs")
    parser.add_argument(
        "--page", type=place, default=ROOT / "docs/results.md", help="default docs/results.md"
    )
    args, args.config_flags = parser.parse_known_args()
    if odd := [flag for flag in args.config_flags if not flag.startswith("--config.")]:
        parser.error(f"{odd[0]!r} is unknown; values of configs are given as --config.KEY=VALUE")
    if odd := set(args.methods) - set(TITLES):
        parser.error(f"--methods: {min(odd)!r} is unknown; known: {', '.join(TITLES)}")
    seeds = sorted({*DATA_SEEDS, *args.data_seeds})
    try:
        tasks = [make_task(args, name, data) for name in TITLES for data in seeds]
    except (flags.Error, AttributeError) as error:  # the latter: a config has no such key
        parser.error(str(error))
    try:
        make(args, tasks)
    except UserError as error:
        parser.error(str(error))


def make(args: argparse.Namespace, tasks: list[Task]) -> None:
    """Runs what is asked for and not finished, and writes the page with every finished run."""
    asked = [task for task in tasks if task.name in args.methods and task.data in args.data_seeds]
    # One data set after the other, so that every method has a first result early.
    asked.sort(key=lambda task: task.data)
    train_all([task for task in asked if not finished(task)])
    done = [task for task in tasks if finished(task)]
    if not done:
        raise SystemExit("no run has finished, so there is nothing to write")
    for task in done:
        find_noise(task)
    args.page.write_text(page(tasks, args.config_flags))
    print(f"{args.page} has {len(done)} of {len(tasks)} runs")
    if unfinished := [task.workdir.name for task in asked if task not in done]:
        raise SystemExit(f"failed: {', '.join(unfinished)}")


if __name__ == "__main__":
    main()
