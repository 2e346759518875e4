"""Scores models on splits: computes the scores, writes the files, prints the tables."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.experiment.weights import Weights, pick
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.nn.functional import Network
from avvp_jax.reports.results import MEAN, draw_timelines, write_details, write_scores
from avvp_jax.reports.tables import scores_table
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import absolute, make_folder
from avvp_jax.task import LLP
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.run import make_predictor
from avvp_jax.training.stages import Training

Probabilities = dict[str, np.ndarray]
Segments = Bool[np.ndarray, "videos segments 2 classes"]


def score_split(
    weights: Sequence[Weights], predicted: Sequence[Segments], truth: Segments
) -> list[dict]:
    """The scores of every seed's model on a split; computes and does nothing else.

    Args:
      weights: of every seed.
      predicted: the segments that each predicts.
      truth: the annotated segments.

    Returns:
      For each seed the ten scores, `seed`, `epoch`, and `diverged` if it diverged.
    """
    results = []
    for each, segments in zip(weights, predicted, strict=True):
        result = scores(segments, truth) | {"seed": each.seed, "epoch": each.epoch}
        results.append(result | ({"diverged": True} if each.diverged else {}))
    return results


def parse_split(
    config: ConfigDict, predictor: Predictor, weights: Weights, split: Split
) -> tuple[Probabilities, Segments]:
    """The probabilities of one model on a split, by name, and the segments it predicts."""
    probs = predictor.predict(weights.variables, split.features)
    return probs, predicted_segments(probs, config.eval.video_filter)


def score_models(
    config: ConfigDict,
    workdir: str,
    stage: Training,
    network: Network,
    weights: Sequence[Weights],
    splits: Sequence[Split],
    writer: Writer,
) -> None:
    """Scores every seed's model on every split, writes the results and prints them.

    Details and timelines are those of one seed's model, which `config.pick_seed` picks.
    """
    picked, predictor = pick(weights, config.pick_seed), make_predictor(config, network)
    folder = results_folder(config, workdir, stage)
    facts = {
        "method": config.method,
        "stage": stage.name,
        "dataset": config.data.dataset,
        "weights": config.init_from or absolute(workdir),
    }
    rows, classes = {}, ""
    for split in splits:
        parsed = [parse_split(config, predictor, each, split) for each in weights]
        if not processes.first():
            continue
        results = score_split(weights, [segments for _, segments in parsed], split.truth > 0)
        summary = write_scores(folder, split, results, facts)
        rows |= {f"{split.name}{what}": ten for what, ten in summary.items()}
        probs, segments = next(p for each, p in zip(weights, parsed, strict=True) if each is picked)
        classes = write_details(folder, split, segments)
        main = summary.get(MEAN) or summary[""]
        writer.write_scalars(picked.step, {f"{split.name}_best/{key}": main[key] for key in NAMES})
        draw_timelines(config.eval.plots, folder, split, probs, segments, writer, picked.step)
    if processes.first():
        print(f"\n{splits[-1].name}, each class over all its videos\n{classes}")
        print(f"\n{_table(config, rows, splits[-1], folder == workdir)}", flush=True)


def _table(config: ConfigDict, rows: dict[str, dict], split: Split, whole: bool) -> str:
    """The ten scores; below those of the whole method on LLP also the paper's."""
    row = METHODS[config.method].published
    published = [row] if row and whole and split.task == LLP else []
    return scores_table(rows, published, config.data.dataset == "llp/synthetic")


def results_folder(config: ConfigDict, workdir: str, stage: Training) -> str:
    """Where results go: the work directory, or the stage's own folder if it is not the last."""
    if stage.name == stages_of(config)[-1].name:
        return workdir
    folder = os.path.join(workdir, stage.name)
    make_folder(folder)
    return folder
