"""How well MA, JoMoLD and CMPAE find the modality noise of synthetic weak labels.

  python benchmarks/refinement.py WORKDIR [WORKDIR ...]

A label is noise in a modality that its video's true segment labels lack. The work
directories are finished runs of configs/ma.py:synthetic, configs/jomold.py:synthetic or
configs/cmpae.py:synthetic; each seed has lines of its own. MA removes labels once. The others
remove some in every batch: counted over one epoch in data order with the final weights and
dropout off.
"""

import argparse
import pathlib
import statistics
import sys
from collections.abc import Sequence

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
from avvp_jax.task import MODALITIES
from avvp_jax.training.run import Run, whole_run
from avvp_jax.training.selection import take_seed
from avvp_jax.training.stages import Training

COLUMNS = ("removed", "recall, both", "precision, both", "recall, visual", "precision, visual")
COLUMNS += ("base rate, both", "base rate, visual")


def noise(run: Run) -> RemovedLabels:
    """The training labels that are noise, by modality."""
    source = open_dataset(run.config.data).as_data_source("train")
    examples = source.__getitems__(list(range(len(source))))
    label = run.train.weak_label > 0
    return RemovedLabels(
        *(
            label & ~np.stack([example[f"{modality}_label"].any(axis=0) for example in examples])
            for modality in MODALITIES
        )
    )


def removed_in_batches(run: Run, index: int) -> RemovedLabels:
    """The labels that a seed's denoised training would remove in one epoch with its final weights.

    Args:
      index: of the seed in `run.seeds`.
    """
    stage = next(stage for stage in reversed(run.stages) if isinstance(stage, Training))
    network = stage.result_network(run.config, run.spec)
    variables, _, _ = take_seed(stage.models(run), index)
    arrays = jomold.denoising_arrays(run, index)
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


def counts(workdir: str) -> list[dict]:
    """For each seed `seed`, and by modality how many labels there are, are noise, are removed.

    `found` is how many are both noise and removed.
    """
    config = recall(workdir)
    run = whole_run(config, workdir, stages_of(config))
    true, labels = noise(run), int((run.train.weak_label > 0).sum())
    removing = ma.removed_labels if config.method == "ma" else removed_in_batches
    seeds = []
    for index, seed in enumerate(run.seeds):
        removed, numbers = removing(run, index), {"seed": seed}
        for modality, noisy, gone in zip(MODALITIES, true, removed, strict=True):
            sums = {"noise": noisy, "removed": gone, "found": noisy & gone}
            numbers[modality] = {"labels": labels} | {k: int(x.sum()) for k, x in sums.items()}
        seeds.append(numbers)
    return seeds


def rates(seeds: Sequence[dict], modalities: Sequence[str] = MODALITIES) -> dict[str, float]:
    """Means over seeds, from their counts: labels, base rate of noise, removed, recall, precision.

    Args:
      modalities: whose labels are looked at together.
    """
    each = []
    for seed in seeds:
        keys = ("labels", "noise", "removed", "found")
        labels, noisy, gone, found = (sum(seed[m][key] for m in modalities) for key in keys)
        rate = {"labels": labels, "base": noisy / labels, "removed": gone}
        each.append(rate | {"recall": found / noisy, "precision": found / max(gone, 1)})
    return {key: statistics.fmean(rate[key] for rate in each) for key in each[0]}


def cells(seeds: Sequence[dict]) -> list[str]:
    """A row of a table with COLUMNS, from the counts of several seeds."""
    both, visual = rates(seeds), rates(seeds, ("visual",))
    shares = [rate[key] for rate in (both, visual) for key in ("recall", "precision")]
    shares += [both["base"], visual["base"]]
    return [f"{both['removed']:.0f}", *(f"{share:.3f}" for share in shares)]


def report(workdir: str) -> str:
    """Lines for each seed, one for each modality and one for both: base rate, recall, precision."""
    lines = []
    for numbers in counts(workdir):
        name = f"{workdir}, seed {numbers['seed']}"
        for part in (*MODALITIES, "both"):
            rate = rates([numbers], MODALITIES if part == "both" else (part,))
            lines.append(
                f"{name:<30}  {part:<6}  {rate['base']:9.3f}  {rate['removed']:7.0f}  "
                f"{rate['recall']:6.3f}  {rate['precision']:9.3f}"
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
