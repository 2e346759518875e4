"""How fast two checkouts of this repository train and evaluate, in turn, on a noisy machine.

  python benchmarks/compare.py OTHER [--configs han valor:plus] [--videos 128] [--batch 16]
                                     [--seeds 1] [--rounds 30]

OTHER is the folder of another checkout. Both are compiled first, each in a process of its own. In
each round both train an epoch, then both evaluate; who goes first alternates. A machine whose speed
moves within minutes moves for both, so the ratio of two neighbours says more than two separate
rates. Two processes share the device, which a TPU does not allow. Each has its own config: a
checkout from before `model.precision` multiplies with fewer digits on an accelerator.
"""

import argparse
import functools
import json
import pathlib
import statistics
import sys
import tempfile

from ratios import quartiles
from workers import Worker, answers, in_turns, serve, started

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEEDED = ("machine.py", "stage.py", "throughput.py")


def work(task: dict) -> None:
    """Trains and evaluates as a worker; what the checkout prints is not an answer."""
    file = answers()
    # In place of this file's folder, which belongs to only one of the checkouts.
    sys.path[:1] = [task["checkout"], f"{task['checkout']}/benchmarks"]
    import machine
    import stage
    import throughput

    config = throughput.load_config(task["config"])
    config.model = throughput.load_config(task["config"], "").model
    config.data.data_dir, config.train.batch_size = task["data_dir"], task["batch"]
    bench = stage.Bench(config, task["stage"], task["seeds"], task["videos"])
    calls = {"train": bench.epoch, "evaluate": bench.validate}
    timed = {what: functools.partial(machine.seconds, call) for what, call in calls.items()}
    for call in timed.values():  # compiles
        call()
    serve(file, timed)


def worker(task: dict) -> Worker:
    """A process that trains one stage as one checkout does."""
    checkout = task["checkout"]
    command = [sys.executable, __file__, "--task", json.dumps(task), checkout]
    return Worker(command, checkout, checkout)


def compare(tasks: list[dict], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the two checkouts, per round, of training an epoch and of evaluating it."""
    with started(functools.partial(worker, task) for task in tasks) as workers:
        return in_turns(workers, ("train", "evaluate"), rounds)


def row(name: str, videos: int, pairs: list[tuple[float, float]]) -> str:
    """One line: medians of both rates, and the quartiles of the rounds' ratios."""
    theirs, ours = (videos / statistics.median(column) for column in zip(*pairs, strict=True))
    low, middle, high = quartiles(*zip(*pairs, strict=True))
    return f"{name:32}{theirs:10.0f}{ours:10.0f}{middle:12.2f}  ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("other", type=pathlib.Path, help="the folder of another checkout")
    parser.add_argument("--configs", nargs="+", default=["han"], help="default han")
    parser.add_argument("--videos", type=int, default=128, help="in an epoch")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1, help="at once")
    parser.add_argument("--rounds", type=int, default=30, help="2 or more")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        work(args.task)
        return
    for name in NEEDED:
        if not (args.other / "benchmarks" / name).is_file():
            parser.error(f"{args.other} is no checkout: it has no benchmarks/{name}")
    if args.rounds < 2:
        parser.error(f"--rounds={args.rounds}: quartiles need two or more")
    measure(args, parser)


def measure(args, parser) -> None:
    """Compares every training stage of the configs, and prints a line for each."""
    import throughput

    configs = throughput.config_names(args.configs, parser)
    checkouts = [str(args.other.resolve()), str(ROOT)]
    print(f"{'videos/s':32}{'other':>10}{'this':>10}{'this/other':>12}  (quartiles of rounds)")
    with tempfile.TemporaryDirectory() as folder:
        for name in configs:
            for stage in throughput.training_stages(throughput.load_config(name)):
                common = {"config": name, "stage": stage.name, "seeds": args.seeds}
                common |= {"videos": args.videos, "batch": args.batch}
                tasks = [
                    common | {"checkout": checkout, "data_dir": f"{folder}/{index}"}
                    for index, checkout in enumerate(checkouts)
                ]
                for what, pairs in compare(tasks, args.rounds).items():
                    label = f"{name} {stage.name}, {what}"
                    print(row(label, args.seeds * args.videos, pairs), flush=True)


if __name__ == "__main__":
    main()
