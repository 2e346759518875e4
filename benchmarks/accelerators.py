"""What training and parsing ask of accelerators, read from programs compiled for them.

  python benchmarks/accelerators.py [--configs han valor:plus_plus] [--targets v5e:2x2 h100]
                                    [--seeds 1 64] [--batches 16] [--json FILE] [--hlo FOLDER]

No accelerator is needed: XLA compiles for devices that are described (targets.py says what must be
installed). So everything here is computed, nothing measured. --batches 0 takes each config's own
batch size. Rows that the JSON file has already are not made again. What the columns mean is in
docs/performance.md.
"""

import argparse
import itertools
import json
import os
import pathlib
import re
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # a GPU here would not be what is described

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
TRAIN, VAL, TEST = 10_000, 649, 1_200  # LLP's videos
MADE_UP = 64  # videos that the shapes come from
MIB, MS = 2**20, 1e3
COLUMNS = {
    "target": lambda r: r["target"],
    "program": lambda r: f"{r['config']} {r['stage']}, {r['what']}",
    "seeds": lambda r: r["seeds"],
    "batch": lambda r: r["batch"],
    "compile s": lambda r: f"{r['compile_s']:.0f}",
    "arguments MiB": lambda r: f"{r['arguments'] / MIB:.0f}",
    "temporaries MiB": lambda r: f"{r['temporaries'] / MIB:.0f}",
    "kernels": lambda r: r["kernels"],
    "GFLOP": lambda r: f"{r['flops'] / 1e9:.2f}",
    "MB": lambda r: f"{r['bytes'] / 1e6:.0f}",
    "collectives KiB": lambda r: listed({k: f"{x / 2**10:.0f}" for k, x in collectives(r)}),
    "products": lambda r: ", ".join(f"{n} {name}" for name, n in sorted(r["products"].items())),
    "double, callbacks": lambda r: f"{yes(r['double'])}, {yes(r['callbacks'])}",
    "floor ms": lambda r: f"{MS * max(r['floors'].values()):.3f} {bound(r)}",
    "schedule s": lambda r: f"{r['schedule_s']:.1f}" if "schedule_s" in r else "",
}


def collectives(row: dict):
    return row["collectives"].items()


def listed(named: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items()) or "none"


def yes(found: bool) -> str:
    return "yes" if found else "no"


def bound(row: dict) -> str:
    """What a step waits for longest."""
    return max(row["floors"], key=row["floors"].get)


def programs(config_name: str, seeds: int, batch: int, data_dir: str):
    """The programs of a config, as (row so far, how to lower it for a mesh, FLOPs of a video)."""
    import lowering
    import machine
    import throughput
    from stage import eval_flops, make_job

    published = throughput.load_config(config_name, "")
    config = throughput.load_config(config_name)
    config.data.data_dir = data_dir
    stages = throughput.training_stages(config)
    for index, stage in enumerate(stages):
        own = stage.settings(published).train
        config.train.batch_size = batch or own.batch_size
        copy = config.copy_and_resolve_references()
        job = make_job(copy, stage.name, seeds, max(MADE_UP, config.train.batch_size))
        size, parsing = int(job.settings.train.batch_size), int(job.settings.eval.batch_size)
        step, videos = machine.matrix_flops(*lowering.one_step(job)) / size, eval_flops(job)
        row = {"config": config_name, "stage": stage.name, "seeds": seeds, "epochs": own.epochs}
        train = row | {"what": "train", "batch": size, "videos": TRAIN}
        yield train, job, lowering.training, step
        row |= {"batch": parsing}
        yield row | {"what": "evaluate", "videos": VAL}, job, lowering.evaluation, videos
        row |= {"seeds": 1}
        if stage.name == "base":
            yield row | {"what": "estimate", "videos": TRAIN}, job, lowering.estimation, 3 * videos
        if stage.name == "estimator":
            yield row | {"what": "estimate", "videos": TRAIN}, job, lowering.prediction, videos
        if index + 1 == len(stages):
            yield row | {"what": "predict", "videos": TEST}, job, lowering.prediction, videos


def facts(row: dict, target, job, lower, video_flops: float, folder: str | None) -> dict:
    """Compiles a program for a target; reads what a step of it asks of each device."""
    import hlo

    from avvp_jax.runtime.mesh import BATCH, whole_batch

    mesh = target.mesh(row["seeds"])
    lowered = lower(job, mesh, row["videos"])
    start = time.perf_counter()
    program = target.compile(lowered)
    row |= {"compile_s": time.perf_counter() - start}
    text, memory = program.as_text(), program.memory_analysis()
    if folder:
        path_of(folder, row).write_text(text)
    read = hlo.read(text)
    shared = row["seeds"] * whole_batch(row["batch"], mesh) / mesh.size
    return row | {
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "kernels": hlo.kernels_of_step(read),
        "flops": video_flops * shared,
        "bytes": hlo.bytes_of_step(read),
        "collectives": hlo.collectives(read),
        "products": hlo.product_precisions(read),
        "double": hlo.has_double_precision(read),
        "callbacks": hlo.has_callbacks(read),
        "peers": mesh.shape[BATCH],
    }


def path_of(folder: str, row: dict) -> pathlib.Path:
    """Where a program's text goes."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    name = " ".join(str(row[key]) for key in KEY)
    return pathlib.Path(folder) / (re.sub(r"[^\w.]+", "-", name) + ".txt")


KEY = ("target", "config", "stage", "what", "seeds", "batch")  # of a row


def add_floors(rows: list[dict]) -> None:
    """Adds to each row the least time of a step by what bounds it.

    A training also gets the least time of its published epochs, with validation.
    """
    from floors import floors

    for row in rows:
        row["floors"] = floors(row["target"], row)
    by_key = {tuple(row[key] for key in KEY[:-1]): row for row in rows}

    def epoch(row):
        return -(-row["videos"] // row["batch"]) * max(row["floors"].values())

    for row in rows:
        evaluation = by_key.get((*(row[name] for name in KEY[:3]), "evaluate", row["seeds"]))
        if row["what"] == "train" and evaluation:
            row["schedule_s"] = row["epochs"] * (epoch(row) + epoch(evaluation))


def table(rows: list[dict]) -> str:
    """The rows as a table for a page of documentation."""
    titles = "| " + " | ".join(COLUMNS) + " |"
    return "\n".join([titles, "|" + "---|" * len(COLUMNS), *map(line, rows)])


def line(row: dict) -> str:
    """One row of the table."""
    return "| " + " | ".join(str(cell(row)) for cell in COLUMNS.values()) + " |"


def arguments():
    """The command line; ends with one line if a target cannot be compiled for."""
    import targets
    import throughput

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--configs", nargs="+", default=list(throughput.CONFIGS), help="default all"
    )
    parser.add_argument("--targets", nargs="+", default=["h100", "v5e:4x4"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--batches", nargs="+", type=int, default=[0], help="0: the config's own")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows here")
    parser.add_argument("--hlo", help="keep each optimised program as text in this folder")
    args = parser.parse_args()
    args.configs = throughput.config_names(args.configs, parser)
    try:
        args.targets = [targets.target(name) for name in args.targets]
        for target in args.targets:
            target.devices()
    except (ValueError, targets.NotInstalled) as error:
        parser.error(f"--targets: {error}")
    return args


def main() -> None:
    args = arguments()
    there = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    rows = {tuple(row[key] for key in KEY): row for row in there}
    with tempfile.TemporaryDirectory() as data_dir:
        for name, batch, seeds in itertools.product(args.configs, args.batches, args.seeds):
            for row, *program in programs(name, seeds, batch, data_dir):
                for target in args.targets:
                    row = row | {"target": target.name}
                    key = tuple(row[each] for each in KEY)
                    if key not in rows:
                        rows[key] = facts(row, target, *program, args.hlo)
                        write(args.json, rows)
                        print(line(rows[key]), file=sys.stderr, flush=True)
    write(args.json, rows)
    print(table(sorted(rows.values(), key=lambda r: (r["target"], r["config"]))))


def write(path: pathlib.Path | None, rows: dict) -> None:
    """Adds floors to all rows, and keeps them."""
    add_floors([*rows.values()])
    if path:
        path.write_text(json.dumps([*rows.values()], indent=1) + "\n")


if __name__ == "__main__":
    main()
