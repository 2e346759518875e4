"""How fast parsers train and evaluate, beside the same networks written in PyTorch.

  python benchmarks/parsers.py [--configs han cmpae leap mm_cse] [--rounds 12] [--averaged]
                               [--cores 1] [--clock cpu]

Published sizes and batches, features that are drawn, in memory, dropout on. Ours and PyTorch's are
a process each, with a thread for each core. In each round both train for some steps, then both
evaluate; who goes first alternates, so that a machine whose speed moves moves for both. Where
other programs use the cores, --cores 1 --clock cpu says more: PyTorch's threads wait for one
another in vain. A step of ours is what trains, with the gathering of its batch; its evaluation
includes the ten scores. PyTorch's is eager, and gets its batches for nothing. It projects frames
and CLAP's maps as they are published and averages them to segments afterwards, as the published
programs do; with --averaged it gets averages, as our networks do (CMPAE reads every frame, ours
too).
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from ratios import ratio  # noqa: E402
from throughput import load_config, training_stages  # noqa: E402
from workers import Worker, answers, in_turns, serve, started  # noqa: E402

# Training steps in a round, so that rounds take about as long.
STEPS = {"han": 8, "cmpae": 2, "leap": 2, "mm_cse": 1}
WIDTHS = {"base": (128, 2048, 512), "base_frames": (128, 2048, 512), "clip_clap": (768, 768, 512)}
ROWS = {"base": (10, 80, 10), "base_frames": (10, 80, 10), "clip_clap": (64, 10, 10)}
CLASSES, SEGMENTS, NOISE_RATIO = 25, 10, 0.3
MIB = 2**20
Calls = dict[str, Callable[[], object]]


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def ours(config, videos: int, folder: str) -> Calls:
    """Our training and evaluation of drawn videos, and sizes."""
    import jax
    import machine
    import stage

    config.data.data_dir = folder
    data = stage.DrawnVideos(config.data.streams, videos)
    name = next(each.name for each in training_stages(config) if each.name == "train")
    bench = stage.Bench(config, name, 1, videos, data=data)
    return {
        "train": lambda: jax.block_until_ready(bench.epoch()),
        "evaluate": lambda: jax.block_until_ready(bench.validate()),
        "parameters": lambda: bench.parameters,
        "memory": machine.peak_memory,
    }


def theirs(config, videos: int, averaged: bool) -> Calls:
    """The same in PyTorch."""
    import resource

    import torch

    program = importlib.import_module(f"torch_{config.method}").PROGRAM
    from torch_parsers import Training

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = program.make(WIDTHS[config.data.streams], CLASSES, config.model.to_dict())
    rate = config.schedule.learning_rate
    training = Training(program, network, config.optimizer.to_dict(), rate)
    drawn, size, parts = drawn_videos(config, videos, averaged), config.train.batch_size, []
    for index, start in enumerate(range(0, videos, size)):
        parts.append({name: x[start : start + size] for name, x in drawn.items()})
        parts[-1]["streams"] = [parts[-1].pop(role) for role in ("audio", "visual", "snippet")]
        ratios = dict.fromkeys(("audio", "visual"), [NOISE_RATIO] * CLASSES)
        parts[-1] |= {"step_of_epoch": index, "ratios": ratios}

    def train() -> None:
        network.train()
        for part in parts:
            training.step(part)

    def evaluate() -> None:
        network.eval()
        with torch.inference_mode():
            for part in parts:
                streams = [x.split(config.eval.batch_size) for x in part["streams"]]
                for some in zip(*streams, strict=True):
                    program.evaluate(network, some)

    return {
        "train": train,
        "evaluate": evaluate,
        "parameters": lambda: sum(x.numel() for x in network.parameters()),
        "memory": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def drawn_videos(config, videos: int, averaged: bool) -> dict:
    """Tensors of drawn features by role, and of labels."""
    import torch

    rows, generator = ROWS[config.data.streams], torch.Generator().manual_seed(0)
    if averaged and config.data.streams != "base_frames":
        rows = (SEGMENTS,) * 3
    streams = {
        role: torch.randn(videos, count, width, generator=generator)
        for role, count, width in zip(
            ("audio", "visual", "snippet"), rows, WIDTHS[config.data.streams], strict=True
        )
    }
    label = (torch.rand(videos, CLASSES, generator=generator) < 0.15).float()
    frames = torch.rand(2, videos, SEGMENTS, CLASSES, generator=generator) < 0.5
    audio, visual = frames.float() * label[:, None]
    return streams | {"label": label, "audio_pseudo": audio, "visual_pseudo": visual}


def work(task: dict) -> None:
    """Answers as a worker, after a round of what is measured."""
    if task["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["cores"]])
    file, config = answers(), load_config(task["config"], "")
    videos = task["steps"] * config.train.batch_size
    if task["side"] == "ours":
        calls = ours(config, videos, task["folder"])
    else:
        calls = theirs(config, videos, task["averaged"])
    clock = CLOCKS[task["clock"]]

    def seconds(call: Callable) -> float:
        start = clock()
        call()
        return clock() - start

    timed = {what: functools.partial(seconds, calls[what]) for what in ("train", "evaluate")}
    for call in timed.values():  # compiles
        call()
    serve(file, calls | timed)


def measure(task: dict, rounds: int) -> str:
    """Lets PyTorch's and ours take turns; returns a row of the table."""

    def worker(side: str) -> Worker:
        command = [sys.executable, __file__, "--task", json.dumps(task | {"side": side})]
        return Worker(command, f"{task['config']}, {side}")

    with started(lambda side=side: worker(side) for side in ("torch", "ours")) as workers:
        times = in_turns(workers, ("train", "evaluate"), rounds)
        sizes = [[each.ask(what) for each in workers] for what in ("memory", "parameters")]
    return row(task, times, *sizes)


TITLES = ("method", "batch", "PyTorch ms a step", "ours", "times as fast", "PyTorch eval videos/s")
TITLES += ("ours", "times as fast", "PyTorch peak MiB", "ours", "PyTorch parameters", "ours")


def row(task: dict, times: dict, memory: list[float], parameters: list[float]) -> str:
    """Medians, and medians with quartiles of the rounds' ratios."""
    batch, steps = task["batch"], task["steps"]
    train, evaluate = ([*zip(*times[what], strict=True)] for what in ("train", "evaluate"))
    cells = [task["config"], batch]
    cells += [f"{1e3 * statistics.median(each) / steps:.0f}" for each in train]
    cells += [ratio(*train)]
    cells += [f"{steps * batch / statistics.median(each):.0f}" for each in evaluate]
    cells += [ratio(*evaluate)]
    cells += [f"{each / MIB:.0f}" for each in memory] + [f"{each:,.0f}" for each in parameters]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--rounds", type=int, default=12, help="2 or more")
    parser.add_argument("--averaged", action="store_true", help="PyTorch gets segments, too")
    parser.add_argument("--cores", type=int, help="of each process; default all")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: of one core")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        work(args.task)
        return
    if args.rounds < 2:
        parser.error(f"--rounds={args.rounds}: quartiles need two or more")
    if importlib.util.find_spec("torch") is None:
        parser.error("PyTorch is not installed: pip install torch")
    print(f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}")
    with tempfile.TemporaryDirectory() as folder:
        common = {name: vars(args)[name] for name in ("averaged", "cores", "clock")}
        for name in args.configs:
            batch = int(load_config(name, "").train.batch_size)
            task = {"config": name, "batch": batch, "steps": STEPS[name], "folder": folder}
            print(measure(task | common, args.rounds), flush=True)


if __name__ == "__main__":
    main()
