"""How fast each config prepares, loads, compiles, trains and evaluates on the device at hand.

  python benchmarks/throughput.py [--configs han,...] [--seeds 1,4] [--epochs 3] [--json FILE]

Every config and number of seeds runs on the synthetic data in a process of its own, so that peak
memory is its own, and without the compilation cache. Rates are medians over epochs after the
first and count the videos of all seeds.
"""

import argparse
import functools
import importlib.util
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CONFIGS = ("han", "ma", "jomold", "valor", "valor:plus", "valor:plus_plus", "dhhn")
COLUMNS = {
    "seeds": "seeds",
    "prepare_videos_s": "prepare videos/s",
    "load_s": "load s",
    "compile_train_s": "compile train s",
    "compile_eval_s": "compile eval s",
    "train_videos_s": "train videos/s",
    "eval_videos_s": "eval videos/s",
    "peak_gib": "peak GiB",
}


def measure(name: str, seeds: int, epochs: int) -> dict[str, float | str]:
    """Measures one config with so many seeds in this process."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from avvp_jax import keys
    from avvp_jax.artefacts import write_noise_ratios, write_removed_labels
    from avvp_jax.denoising import NoiseRatios
    from avvp_jax.fit import first_state
    from avvp_jax.labels import RemovedLabels
    from avvp_jax.methods import stages_of
    from avvp_jax.optimizer import make_optimizer, make_schedule
    from avvp_jax.predictor import Predictor
    from avvp_jax.stages import Run
    from avvp_jax.task import NUM_CLASSES, SEGMENTS
    from avvp_jax.train import Trainer

    jax.config.update("jax_enable_compilation_cache", False)
    config = load_config(name)
    result: dict[str, float | str] = {"config": name, "device": jax.devices()[0].device_kind}
    result["seeds"] = seeds
    with tempfile.TemporaryDirectory() as folder:
        config.data.data_dir = folder
        run = Run(config, folder, [])
        start = time.perf_counter()
        videos = sum(split.num_examples for split in run.dataset.info.splits.values())
        result["prepare_videos_s"] = videos / (time.perf_counter() - start)
        start = time.perf_counter()
        train = run.train
        result["load_s"] = time.perf_counter() - start
        # The last training, which somebody else's artefact makes the only one.
        if name == "jomold":
            config.jomold.noise_ratios = f"{folder}/noise_ratios.npz"
            write_noise_ratios(config.jomold.noise_ratios, NoiseRatios(*np.full((2, 25), 0.3)))
        if config.method in ("ma", "dhhn"):
            nothing = RemovedLabels(*np.zeros((2, *train.weak_label.shape), bool))
            config[config.method].removed_labels = f"{folder}/removed_labels.npz"
            write_removed_labels(f"{folder}/removed_labels.npz", nothing, train.ids)
        stage = stages_of(config)[-1]
        arrays = stage.arrays(run)
        own = [stage.own(run, 0)] * seeds if stage.own else []
        own = jax.tree.map(lambda *each: np.stack(each), *own) if own else {}

    network = stage.trained_network(config)
    roots = jnp.stack([keys.root_key(config.seed + index) for index in range(seeds)])
    optimizer = make_optimizer(config.optimizer)
    trainer = Trainer(
        network,
        stage.loss,
        optimizer,
        make_schedule(config.schedule, config.train.epochs),
        roots=roots,
        videos=len(train),
        batch_size=config.train.batch_size,
        shuffle=config.train.shuffle,
        steps_per_call=config.train.steps_per_call,
    )
    arrays["videos"]["features"] = train.features
    arrays, own = jax.device_put((arrays, own))
    begin = functools.partial(first_state, network, optimizer, config.eval.select, stage.keep, None)
    state = jax.tree.map(jnp.copy, jax.jit(jax.vmap(begin))(roots))
    seconds = []
    for _ in range(epochs + 1):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(trainer.run_epoch(state, arrays, own))
        seconds.append(time.perf_counter() - start)
    result |= rates("train", seconds, seeds * len(train))

    parser = stage.result_network(config)
    predictor = Predictor(parser, config.eval.video_filter, config.eval.batch_size)
    validate = jax.jit(jax.vmap(predictor.validate, in_axes=(0, None, None)))
    variables = stage.keep({"params": state["params"], "stats": state["stats"]})
    truth = jax.device_put(np.zeros((len(train), SEGMENTS, 2, NUM_CLASSES), bool))
    seconds = []
    for _ in range(epochs + 1):
        start = time.perf_counter()
        jax.block_until_ready(validate(variables, arrays["videos"]["features"], truth))
        seconds.append(time.perf_counter() - start)
    result |= rates("eval", seconds, seeds * len(train))
    stats = jax.devices()[0].memory_stats() or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["peak_gib"] = stats.get("peak_bytes_in_use", peak) / 2**30
    return result


def rates(what: str, seconds: list[float], videos: int) -> dict[str, float]:
    """Compile time and steady videos/s from the first and the later calls."""
    steady = statistics.median(seconds[1:])
    return {f"compile_{what}_s": seconds[0] - steady, f"{what}_videos_s": videos / steady}


def load_config(name: str):
    """configs/METHOD.py:synthetic, or with a variant of NAME=METHOD:VARIANT before it."""
    method, _, variant = name.partition(":")
    spec = importlib.util.spec_from_file_location(method, ROOT / "configs" / f"{method}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(f"{variant},synthetic" if variant else "synthetic")


def table(results: list[dict]) -> str:
    """The results as text, a row for each config."""
    width = {key: max(len(title), 9) for key, title in COLUMNS.items()}
    head = "  ".join(f"{title:>{width[key]}}" for key, title in COLUMNS.items())
    rows = [f"{'config':<15}  {head}"]
    for result in results:
        cells = "  ".join(
            f"{result[key]:>{width[key]}.{0 if key == 'seeds' else 1}f}" for key in COLUMNS
        )
        rows.append(f"{result['config']:<15}  {cells}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configs", default=",".join(CONFIGS), help="comma separated, default all")
    parser.add_argument("--seeds", default="1", help="comma separated numbers of seeds")
    parser.add_argument("--epochs", type=int, default=3, help="measured, after one that compiles")
    parser.add_argument("--json", help="also write the results here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, int(args.seeds), args.epochs)))
        return
    results = []
    for name in args.configs.split(","):
        if name not in CONFIGS:
            parser.error(f"--configs: {name!r} is unknown; known: {', '.join(CONFIGS)}")
        for seeds in args.seeds.split(","):
            options = ["--seeds", seeds, "--epochs", str(args.epochs)]
            command = [sys.executable, __file__, "--one", name, *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"device: {results[0]['device']}\n{table(results)}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
