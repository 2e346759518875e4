"""What training and parsing ask of accelerators, read from programs compiled for them.

  python benchmarks/accelerators.py [--configs han valor:plus_plus] [--targets v5e:2x2 h100]
                                    [--seeds 1 64] [--batches 16] [--segments 10 60]
                                    [--json FILE] [--hlo FOLDER]

No accelerator is needed: XLA compiles for devices that are described (targets.py says what must be
installed). So everything here is computed, nothing measured. --batches 0 takes each config's own
batch size. Rows that the JSON file has already are not made again. What the columns mean is in
docs/performance.md.
"""

import argparse
import itertools
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # a GPU here would not be what is described

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import facts  # noqa: E402

TRAIN, VAL, TEST = 10_000, 649, 1_200  # LLP's videos
MADE_UP = 64  # videos that the shapes come from
WHAT = ("train", "evaluate", "estimate", "predict")
# What tells rows apart.
KEY = ("target", "config", "stage", "what", "segments", "seeds", "batch")
COLUMNS: facts.Columns = {
    "target": lambda r: r["target"],
    "program": lambda r: f"{r['config']} {r['stage']}, {r['what']}{_longer(r)}{_place(r)}",
    "seeds": lambda r: r["seeds"],
    "batch": lambda r: r["batch"],
    **facts.COLUMNS,
    "schedule s": lambda r: f"{r['schedule_s']:.1f}" if "schedule_s" in r else "",
}


def _longer(row: dict) -> str:
    return "" if row["segments"] == 10 else f", {row['segments']} segments"


def _place(row: dict) -> str:
    return ", from disk" if row.get("stored") else ""  # older rows do not say


def programs(config_name: str, segments: int, seeds: int, batch: int, data_dir: str):
    """The programs of a config, as (row so far, how to lower it for a mesh, FLOPs of a video)."""
    import lowering
    import machine
    import throughput
    from stage import eval_flops, make_job

    published = throughput.load_config(config_name, "")
    config = throughput.measured_config(config_name)
    config.data.data_dir = data_dir
    stages = throughput.training_stages(config)
    for index, stage in enumerate(stages):
        own = stage.settings(published).train
        config.train.batch_size = batch or own.batch_size
        copy = config.copy_and_resolve_references()
        made_up = max(MADE_UP, config.train.batch_size)
        job = make_job(copy, stage.name, seeds, made_up, segments)
        size, parsing = int(job.settings.train.batch_size), int(job.settings.eval.batch_size)
        step, videos = machine.matrix_flops(*lowering.one_step(job)) / size, eval_flops(job)
        row = {"config": config_name, "stage": stage.name, "seeds": seeds, "epochs": own.epochs}
        row["segments"] = segments
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


def asked(row: dict, target, job, lower, video_flops: float, text: pathlib.Path | None) -> dict:
    """The row with what a program of a job, made for a target, asks of each device.

    Features stay on disk where `data.feed=auto` would leave them there.
    """
    from floors import numbers_of

    from avvp_jax.data.prepared import AUTO_SHARE
    from avvp_jax.runtime.mesh import BATCH, whole_batch

    mesh = target.mesh(row["seeds"])
    shared = row["seeds"] * whole_batch(row["batch"], mesh) / mesh.size
    features = (TRAIN + VAL) * job.data.train.spec.video_bytes
    stored = features > AUTO_SHARE * numbers_of(target.name).memory
    row |= {"flops": video_flops * shared, "peers": mesh.shape[BATCH], "stored": stored}
    return row | facts.facts(target, lower(job, mesh, row["videos"], stored), text)


def add_floors(rows: list[dict]) -> None:
    """Adds to each row the least time of a step by what bounds it.

    A training also gets the least time of its published epochs, with validation.
    """
    facts.add_floors(rows)
    by_key = {tuple(row[key] for key in KEY[:-1]): row for row in rows}

    def epoch(row):
        return -(-row["videos"] // row["batch"]) * facts.least(row)

    for row in rows:
        like = ("evaluate", row["segments"], row["seeds"])
        evaluation = by_key.get((*(row[name] for name in KEY[:3]), *like))
        if row["what"] == "train" and evaluation:
            row["schedule_s"] = row["epochs"] * (epoch(row) + epoch(evaluation))


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
    parser.add_argument("--segments", nargs="+", type=int, default=[10], help="of a clip")
    parser.add_argument("--what", nargs="+", default=WHAT, choices=WHAT, help="programs")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows here")
    parser.add_argument(
        "--hlo", type=pathlib.Path, help="keep each optimised program as text in this folder"
    )
    args = parser.parse_args()
    args.configs = throughput.config_names(args.configs, parser)
    args.targets = targets.installed(args.targets, parser)
    return args


def main() -> None:
    args = arguments()
    rows = facts.Rows(KEY, args.json, args.hlo)
    with tempfile.TemporaryDirectory() as data_dir:
        each = itertools.product(args.configs, args.segments, args.batches, args.seeds)
        for name, segments, batch, seeds in each:
            for row, *program in programs(name, segments, seeds, batch, data_dir):
                if row["what"] not in args.what:
                    continue
                for target in args.targets:
                    row = row | {"target": target.name}
                    if rows.key(row) not in rows.by_key:
                        row = asked(row, target, *program, rows.text_of(row))
                        rows.add(row)
                        write(rows)
                        print(facts.line(row, COLUMNS), file=sys.stderr, flush=True)
    write(rows)
    print(facts.table(sorted(rows.all(), key=lambda r: (r["target"], r["config"])), COLUMNS))


def write(rows) -> None:
    """Adds floors to all rows, and keeps them."""
    add_floors(rows.all())
    rows.save()


if __name__ == "__main__":
    main()
