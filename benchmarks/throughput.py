"""How fast each stage of each method trains and evaluates on the device at hand.

  python benchmarks/throughput.py [--configs han jomold] [--seeds 1,4,16,64] [--batches 16,128]
                                  [--videos 320] [--segments 10,60] [--epochs 3]
                                  [--precision fastest] [--json FILE] [--plot FILE.png]

Every config, number of segments and seeds and batch size is a process of its own, so that peak
memory is its own. Videos are those of the synthetic set, as many as asked for and fill the last
batch, with their segments repeated if more are asked for. Rates count the videos of all seeds and
are medians over epochs after the first, which compiles. What the columns mean is in
docs/performance.md.
"""

import argparse
import importlib.util
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
CONFIGS = ("han", "ma", "jomold", "valor", "valor:plus", "valor:plus_plus", "dhhn", "dhhn:origin")
CONFIGS += ("cmpae", "leap", "mm_cse")
PRECISIONS = ("highest", "high", "fastest")  # of config.model
COLUMNS = {
    "peak_gflops": ("peak GFLOP/s", ".0f"),
    "bandwidth_gb_s": ("GB/s", ".0f"),
    "segments": ("segments", "d"),
    "seeds": ("seeds", "d"),
    "batch": ("batch", "d"),
    "videos": ("videos", "d"),
    "train_videos_s": ("train videos/s", ".0f"),
    "train_mflop": ("train MFLOP/video", ".0f"),
    "train_peak": ("of peak", ".0%"),
    "train_bandwidth": ("of bandwidth", ".0%"),
    "eval_videos_s": ("eval videos/s", ".0f"),
    "eval_mflop": ("eval MFLOP/video", ".0f"),
    "eval_peak": ("of peak", ".0%"),
    "scores_ms": ("scores ms", ".0f"),
    "compile_s": ("compile s", ".1f"),
    "cached_s": ("cached s", ".1f"),
    "peak_gib": ("peak GiB", ".1f"),
    "schedule_s": ("schedule s", ".0f"),
}
# How often a step reads or writes every parameter: twice for the products, twice for its
# gradient, and three reads and three writes in Adam.
PASSES = 10
TRAIN_VIDEOS, VAL_VIDEOS, SCORED_VIDEOS = 10_000, 649, 1_849


def measure(task: dict) -> list[dict]:
    """Measures every training stage of a config in this process; see the module's docstring."""
    import jax
    import machine
    from stage import Bench, scores_seconds

    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        published = load_config(task["config"], "")
        config = measured_config(task["config"])
        config.data.data_dir = task["data_dir"]
        config.train.batch_size = task["batch"]
        config.model.precision = task["precision"]
        arithmetic = config.model.dtype, config.model.precision
        peak, bandwidth = machine.peak_flops(*arithmetic), machine.peak_bandwidth()
        # Measured twice, in case something else ran the first time.
        peak = max(peak, machine.peak_flops(*arithmetic))
        common = {key: task[key] for key in ("config", "segments", "seeds", "batch", "videos")}
        common |= {"device": jax.devices()[0].device_kind, "peak_gflops": peak / 1e9}
        common |= {"precision": config.model.precision}
        common |= {"bandwidth_gb_s": bandwidth / 1e9}
        common["scores_ms"] = 1e3 * scores_seconds(SCORED_VIDEOS, 9, task["segments"])
        results = []
        for name in task["stages"]:
            copy, sizes = config.copy_and_resolve_references(), (task["videos"], task["segments"])
            bench = Bench(copy, name, task["seeds"], *sizes)
            epochs = {
                s.name: s.settings(published).train.epochs for s in training_stages(published)
            }
            results.append(common | rates(bench, task, peak, bandwidth, epochs[name]))
        return results


def rates(bench, task: dict, peak: float, bandwidth: float, epochs: int) -> dict[str, float | str]:
    """Measures one stage; `epochs` is its published number of epochs."""
    import machine

    seeds, videos = task["seeds"], task["videos"]
    compile_s, cached_s = bench.first_epochs()
    train = machine.median_seconds(bench.epoch, task["epochs"])
    evaluate = machine.median_seconds(bench.validate, task["epochs"])
    result = {"stage": bench.name, "compile_s": compile_s - train, "cached_s": cached_s - train}
    train_rate, eval_rate = seeds * videos / train, seeds * videos / evaluate
    result |= {"train_videos_s": train_rate, "eval_videos_s": eval_rate}
    step_flops, by_xla = bench.train_flops()
    train_flops = step_flops / task["batch"]
    eval_flops = bench.eval_flops()
    result |= {"train_mflop": train_flops / 1e6, "eval_mflop": eval_flops / 1e6}
    result |= {"train_peak": train_rate * train_flops / peak}
    result |= {"eval_peak": eval_rate * eval_flops / peak}
    result |= {"step_mflop": step_flops / 1e6, "step_mflop_by_xla": by_xla / 1e6}
    traffic = PASSES * 4 * bench.parameters * seeds * bench.steps
    result |= {"parameters": bench.parameters, "train_bandwidth": traffic / train / bandwidth}
    result["peak_gib"] = machine.peak_memory() / 2**30
    epoch = seeds * (TRAIN_VIDEOS / train_rate + VAL_VIDEOS / eval_rate)
    return result | {"epoch_s": epoch, "schedule_s": epochs * epoch}


def load_config(name: str, variant: str = "synthetic"):
    """The config of NAME, which is METHOD or METHOD:VARIANT, with a further variant added."""
    method, _, own = name.partition(":")
    spec = importlib.util.spec_from_file_location(method, ROOT / "configs" / f"{method}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(",".join(filter(None, (own, variant))))


def measured_config(name: str):
    """The config with the published network, on the built-in synthetic data."""
    config = load_config(name)
    config.model = load_config(name, "").model
    return config


def config_names(given: list[str], parser) -> list[str]:
    """The configs that a command line names, apart by spaces or commas; unknown ones end it."""
    names = [name for some in given for name in some.split(",")]
    for name in names:
        if name not in CONFIGS:
            parser.error(f"--configs: {name!r} is unknown; known: {', '.join(CONFIGS)}")
    return names


def training_stages(config) -> list:
    """The stages of a config that train a network."""
    from avvp_jax.methods import stages_of
    from avvp_jax.training.stages import Training

    return [stage for stage in stages_of(config) if isinstance(stage, Training)]


def table(results: list[dict]) -> str:
    """The results as a table, with a row for each stage."""
    cells = [["stage", *(title for title, _ in COLUMNS.values())]]
    for result in results:
        row = [f"{result[key]:{form}}" for key, (_, form) in COLUMNS.items()]
        cells.append([f"{result['config']} {result['stage']}", *row])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(x.rjust(w) for x, w in zip(row, widths, strict=True)) for row in cells]
    title = f"{results[0]['device']}, products: {results[0]['precision']}"
    return "\n".join([title, *lines])


def plot(results: list[dict], path: str) -> None:
    """Draws training throughput against seeds, with a line for each stage and batch size."""
    from avvp_jax.reports.pictures import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    lines = {}
    for r in results:
        name = f"{r['config']} {r['stage']}, batch {r['batch']}"
        lines.setdefault(name, []).append((r["seeds"], r["train_videos_s"]))
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set(
        xscale="log", ylim=(0, None), xlabel="seeds at once", ylabel="training videos/s, all seeds"
    )
    axes.set_xticks(seeds := sorted({r["seeds"] for r in results}), labels=seeds)
    axes.set_title(results[0]["device"])
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def numbers(text: str) -> list[int]:
    return [int(value) for value in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=CONFIGS, help="default all")
    parser.add_argument("--seeds", type=numbers, default=[1], help="at once, comma separated")
    parser.add_argument("--batches", type=numbers, default=[16], help="sizes, comma separated")
    parser.add_argument(
        "--videos", type=numbers, default=[320], help="in an epoch, comma separated"
    )
    parser.add_argument("--segments", type=numbers, default=[10], help="of a clip, comma separated")
    parser.add_argument("--epochs", type=int, default=3, help="measured, after one that compiles")
    parser.add_argument(
        "--precision", default="highest", choices=PRECISIONS, help="of matrix products"
    )
    parser.add_argument("--json", help="also write the results here")
    parser.add_argument("--plot", help="also draw throughput against seeds here")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(measure(json.loads(args.task))))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks(args, parser, folder):
            command = [sys.executable, __file__, "--task", json.dumps(task)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results += json.loads(done.stdout.splitlines()[-1])
            print(table(results[-len(task["stages"]) :]), file=sys.stderr, flush=True)
    print(table(results))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=2) + "\n")
    if args.plot:
        plot(results, args.plot)


def tasks(args, parser, folder: str):
    """The tasks to measure, each in a process of its own."""
    for name in config_names(args.configs, parser):
        stages = [stage.name for stage in training_stages(load_config(name))]
        each = itertools.product(args.videos, args.segments, args.batches, args.seeds)
        for videos, segments, batch, seeds in each:
            task = {"config": name, "stages": stages, "seeds": seeds, "batch": batch}
            task |= {"videos": -(-videos // batch) * batch, "segments": segments}
            task |= {"precision": args.precision, "epochs": args.epochs, "data_dir": folder}
            yield task


if __name__ == "__main__":
    main()
