"""What training and evaluation ask of accelerators, read from programs compiled for them.

  python benchmarks/accelerators.py [--configs han valor:plus_plus] [--targets v5e:2x2 h100]
                                    [--seeds 1 64] [--batches 16] [--json FILE] [--hlo FOLDER]

No accelerator is needed: XLA compiles for devices that are described (targets.py says what must be
installed). So everything here is computed, nothing measured. --batches 0 takes each config's own
batch size. What the columns mean is in docs/performance.md.
"""

import argparse
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
COLUMNS = {
    "target": ("target", "s"),
    "program": ("program", "s"),
    "seeds": ("seeds", "d"),
    "batch": ("batch", "d"),
    "compile_s": ("compile s", ".0f"),
    "arguments_mib": ("arguments MiB", ".0f"),
    "temporaries_mib": ("temporaries MiB", ".0f"),
    "kernels": ("kernels a step", "d"),
    "collectives": ("collectives KiB", "s"),
    "precision": ("products", "s"),
    "double": ("double", "s"),
    "callbacks": ("callbacks", "s"),
}
VIDEOS = {"train": 10_000, "evaluate": 649}  # LLP's training and validation videos
MADE_UP = 64  # videos that the shapes come from


def measure(config_name: str, args, target, seeds: int, batch: int, data_dir: str) -> list[dict]:
    """One row for the training, and one for the evaluation, of each stage of a config."""
    import lowering
    import throughput
    from stage import make_job

    config = throughput.load_config(config_name)
    config.data.data_dir = data_dir
    config.train.batch_size = batch or throughput.load_config(config_name, "").train.batch_size
    rows = []
    for stage in throughput.training_stages(config):
        copy = config.copy_and_resolve_references()
        job = make_job(copy, stage.name, seeds, max(MADE_UP, config.train.batch_size))
        for what, lower in (("train", lowering.training), ("evaluate", lowering.evaluation)):
            mesh = target.mesh(seeds)
            row = {"target": target.name, "program": f"{config_name} {stage.name}, {what}"}
            row |= {"seeds": seeds, "batch": int(job.settings.train.batch_size)}
            lowered = lower(job, mesh, VIDEOS[what])
            rows.append(row | facts(target, lowered, keep(args.hlo, row)))
    return rows


def facts(target, lowered, path: pathlib.Path | None) -> dict:
    """Compiles a program for a target; reads what it asks of each device."""
    import hlo

    start = time.perf_counter()
    program = target.compile(lowered)
    seconds = time.perf_counter() - start
    text, memory = program.as_text(), program.memory_analysis()
    if path:
        path.write_text(text)
    read = hlo.read(text)
    sent = hlo.collectives(read)
    products = hlo.product_precisions(read)
    return {
        "compile_s": seconds,
        "arguments_mib": memory.argument_size_in_bytes / 2**20,
        "temporaries_mib": memory.temp_size_in_bytes / 2**20,
        "kernels": hlo.kernels_of_step(read),
        "collectives": ", ".join(f"{kind} {x / 2**10:.0f}" for kind, x in sent.items()) or "none",
        "precision": ", ".join(f"{count} {name}" for name, count in sorted(products.items())),
        "double": "yes" if hlo.has_double_precision(read) else "no",
        "callbacks": "yes" if hlo.has_callbacks(read) else "no",
    }


def keep(folder: str | None, row: dict) -> pathlib.Path | None:
    """Where a program's text goes, if asked for."""
    if not folder:
        return None
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    name = f"{row['target']} {row['program']} {row['seeds']} seeds batch {row['batch']}"
    return pathlib.Path(folder) / (re.sub(r"[^\w.]+", "-", name) + ".txt")


def table(rows: list[dict]) -> str:
    """The rows as a table for a page of documentation."""
    titles = "| " + " | ".join(title for title, _ in COLUMNS.values()) + " |"
    return "\n".join([titles, "|" + "---|" * len(COLUMNS), *map(line, rows)])


def line(row: dict) -> str:
    """One row of the table."""
    return "| " + " | ".join(f"{row[name]:{form}}" for name, (_, form) in COLUMNS.items()) + " |"


def main() -> None:
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
    parser.add_argument("--json", help="also write the rows here")
    parser.add_argument("--hlo", help="keep each optimised program as text in this folder")
    args = parser.parse_args()
    configs = throughput.config_names(args.configs, parser)
    try:
        chosen = [targets.target(name) for name in args.targets]
        for target in chosen:
            target.devices()
    except (ValueError, targets.NotInstalled) as error:
        parser.error(f"--targets: {error}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in configs:
            for target in chosen:
                for batch in args.batches:
                    for seeds in args.seeds:
                        new = measure(name, args, target, seeds, batch, folder)
                        print("\n".join(map(line, new)), file=sys.stderr, flush=True)
                        rows += new
                        if args.json:
                            text = json.dumps(rows, indent=2)
                            pathlib.Path(args.json).write_text(text + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
