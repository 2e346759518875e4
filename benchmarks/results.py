"""Trains every method on the built-in synthetic data, and writes docs/results.md from the scores.

  python benchmarks/results.py [--methods han jomold] [--data-seeds 0,1,2] [--workdir FOLDER]
                               [--data-dir FOLDER] [--page FILE] [--config.KEY=VALUE ...]

Each method on each data set is one run of launch.py, which trains three seeds together: the
config's and the two after it. Its work directory is FOLDER/METHOD-DATA. An interrupted run goes on.
What is known of a finished one is kept beside the page, in a .json of the same name, so that it is
not run again, on another machine either; who wants it again deletes its line, and its work
directory. The page has every run of that file, and says which are missing.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

from absl import flags
from ml_collections import ConfigDict, config_flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from results_page import TITLES, TRAINING_SEEDS, page
from results_records import STARTS, Records, record_of
from throughput import ROOT, load_config, numbers

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import refuse_other_config
from avvp_jax.experiment.settings import absolute_paths
from avvp_jax.modes.compare import has_scores
from avvp_jax.training.run import all_seeds

DATA_SEEDS = [0, 1, 2]
# Exit codes of launch.py after which the same command goes on.
STOPPED = (75, 76, 130)
DEVICE = "import jax; print(jax.device_count(), 'x', jax.devices()[0].device_kind)"


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


def train_all(tasks: list[Task], keep: Callable[[Task], None]) -> None:
    """Trains what is not finished; a run that fails is left out, and the others go on.

    Args:
      keep: is called with each finished task.
    """
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
        elif finished(task):
            keep(task)


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
    records = Records(args.page.with_suffix(".json"))

    def known(task: Task):
        return records.of(task.name, task.data, task.config)

    def keep(task: Task) -> None:
        records.add(record_of(task.name, task.data, task.config, task.workdir))

    asked = [task for task in tasks if task.name in args.methods and task.data in args.data_seeds]
    for task in tasks:
        if not known(task) and finished(task):
            keep(task)
    # One data set after the other, so that every method has a first result early.
    asked.sort(key=lambda task: task.data)
    train_all([task for task in asked if not known(task)], keep)
    done = [record for task in tasks if (record := known(task))]
    if not done:
        raise SystemExit("no run has finished, so there is nothing to write")
    seeds = {(task.name, task.data): all_seeds(task.config) for task in tasks}
    args.page.write_text(page(seeds, done, args.config_flags))
    print(f"{args.page} has {len(done)} of {len(tasks)} runs")
    if unfinished := [task.workdir.name for task in asked if not known(task)]:
        raise SystemExit(f"failed: {', '.join(unfinished)}")


if __name__ == "__main__":
    main()
