"""How fast two checkouts of this repository train and evaluate, in turn, on a noisy machine.

  python benchmarks/compare.py OTHER [--configs han valor:plus] [--videos 128] [--rounds 30]

OTHER is the folder of another checkout. Both have a process that has compiled; then each trains an
epoch and evaluates it, and the next round begins with the other one. A machine whose speed moves
within minutes moves for both, so the ratio of two neighbours says more than two separate rates.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))


def work(task: dict) -> None:
    """Answers each line of standard input, "train" or "evaluate", with the seconds it took."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the checkout prints is not an answer
    sys.path[:0] = [task["checkout"], f"{task['checkout']}/benchmarks"]
    import machine
    import stage
    import throughput

    config = throughput.load_config(task["config"])
    config.data.data_dir, config.train.batch_size = task["data_dir"], task["batch"]
    bench = stage.Bench(config, task["stage"], task["seeds"], task["videos"])
    calls = {"train": bench.epoch, "evaluate": bench.validate}
    for call in calls.values():  # compiles
        machine.seconds(call)
    print(0.0, file=answers)
    for line in sys.stdin:
        print(machine.seconds(calls[line.strip()]), file=answers)


class Worker:
    """A process that trains one stage as one checkout does."""

    def __init__(self, task: dict):
        command = [sys.executable, __file__, "--task", json.dumps(task), task["checkout"]]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=task["checkout"], **pipes)
        self._answer()

    def seconds(self, what: str) -> float:
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self._process.communicate()

    def _answer(self) -> float:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of {self._process.args[-1]} ended; see its message above")
        return float(line)


def compare(tasks: list[dict], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the two checkouts, per round, of training an epoch and of evaluating it."""
    workers = [Worker(task) for task in tasks]
    times = {"train": [], "evaluate": []}
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for what, pairs in times.items():
            taken = {index: workers[index].seconds(what) for index in order}
            pairs.append((taken[0], taken[1]))
    for worker in workers:
        worker.end()
    return times


def row(name: str, videos: int, pairs: list[tuple[float, float]]) -> str:
    """One line: medians of both rates, and the quartiles of the rounds' ratios."""
    theirs, ours = (videos / statistics.median(column) for column in zip(*pairs, strict=True))
    low, middle, high = statistics.quantiles([other / own for other, own in pairs])
    return f"{name:32}{theirs:10.0f}{ours:10.0f}{middle:10.2f}    ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("other", type=pathlib.Path, help="the folder of another checkout")
    parser.add_argument("--configs", nargs="+", default=["han"], help="default han")
    parser.add_argument("--videos", type=int, default=128, help="in an epoch")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1, help="at once")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        work(args.task)
        return
    if not (args.other / "benchmarks" / "stage.py").is_file():
        parser.error(f"{args.other} is no checkout with benchmarks/stage.py")
    measure(args)


def measure(args) -> None:
    """Compares every training stage of the configs, and prints a line for each."""
    import throughput

    checkouts = [str(args.other.resolve()), str(ROOT)]
    print(f"{'videos/s':32}{'other':>10}{'this':>10}{'this/other':>12}  (quartiles of rounds)")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.configs:
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
