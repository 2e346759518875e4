"""How well MA and JoMoLD find the modality noise of synthetic weak labels.

  python benchmarks/refinement.py WORKDIR [WORKDIR ...]

A label is noise in a modality that its video's true segment labels lack. The work
directories are finished runs of configs/ma.py:synthetic or configs/jomold.py:synthetic; of
several seeds the first is looked at. MA removes labels once.
JoMoLD removes some in every batch: counted over one epoch in data order with the
final weights and dropout off.
"""

import argparse
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvp_jax.data.prepared import open_dataset
from avvp_jax.experiment.records import recall
from avvp_jax.methods import stages_of
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.methods.jomold.denoising import denoise
from avvp_jax.methods.ma import stages as ma
from avvp_jax.methods.targets import RemovedLabels, targets
from avvp_jax.training.run import Run, whole_run
from avvp_jax.training.selection import take_seed


def noise(run: Run) -> RemovedLabels:
    """The training labels that are noise, by modality."""
    source = open_dataset(run.config.data).as_data_source("train")
    examples = source.__getitems__(list(range(len(source))))
    label = run.train.weak_label > 0
    return RemovedLabels(
        *(
            label & ~np.stack([example[f"{modality}_label"].any(axis=0) for example in examples])
            for modality in ("audio", "visual")
        )
    )


def removed_by_jomold(run: Run) -> RemovedLabels:
    """The labels that denoised training would remove in one epoch with its final weights."""
    stage = run.stages[-1]
    network = stage.result_network(run.config, run.spec)
    variables, _, _ = take_seed(stage.models(run), 0)
    arrays = jomold.denoising_arrays(run, 0)
    counts = {m: table[-1] for m, table in arrays.shared["removal_counts"].items()}
    label, size = run.train.weak_label, run.config.train.batch_size

    @jax.jit
    def edited(features, batch_targets):
        output = network.module(variables).without_cross_attention(features)
        weight = jnp.ones(len(output["audio_prob"]))
        probs = output["audio_prob"], output["visual_prob"]
        return denoise(*probs, batch_targets, counts["audio"], counts["visual"], weight)

    removed = RemovedLabels(np.zeros(label.shape, bool), np.zeros(label.shape, bool))
    for start in range(0, len(label), size):
        rows = np.arange(start, min(start + size, len(label)))
        before = targets(label[rows])
        after = edited(run.train.features.take(rows), before)
        for modality, mask in removed._asdict().items():
            mask[rows] = np.asarray(after[modality]) != before[modality]
    return removed


def report(workdir: str) -> str:
    """A line for each modality and one for both: base rate, recall, precision."""
    config = recall(workdir)
    run = whole_run(config, workdir, stages_of(config))
    removed = ma.removed_labels(run, 0) if config.method == "ma" else removed_by_jomold(run)
    true, label = noise(run), run.train.weak_label > 0
    lines = []
    for name, chosen in {"audio": [0], "visual": [1], "both": [0, 1]}.items():
        found = sum(int((removed[i] & true[i]).sum()) for i in chosen)
        noisy = sum(int(true[i].sum()) for i in chosen)
        gone = sum(int(removed[i].sum()) for i in chosen)
        base = noisy / (len(chosen) * label.sum())
        lines.append(
            f"{workdir:<30}  {name:<6}  {base:9.3f}  {gone:7d}  {found / noisy:6.3f}  "
            f"{found / max(gone, 1):9.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    print(f"{'run':<30}  labels  base rate  removed  recall  precision")
    for workdir in parser.parse_args().workdirs:
        print(report(workdir), flush=True)


if __name__ == "__main__":
    main()
