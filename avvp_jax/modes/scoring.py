"""Scores models on splits: computes the scores, writes the files, prints the tables."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of all seeds' models on one split, and the predictions of one of them.

    Attributes:
      split: the split that the models were scored on.
      results: for each seed the ten scores, `seed`, `epoch`, and `diverged` if it diverged.
      probs: probabilities of the picked seed's model, by name.
      segments: segments that the picked seed's model predicts.
    """

    split: Split
    results: list[dict]
    probs: Probabilities
    segments: Segments


def score_split(
    config: ConfigDict,
    predictor: Predictor,
    weights: Sequence[Weights],
    picked: Weights,
    split: Split,
) -> Scored:
    """Scores every seed's model on a split; writes nothing.

    Args:
      picked: the one of `weights` whose predictions are kept, for details and timelines.
    """
    results, shown = [], None
    for each in weights:
        probs, segments = parse_split(config, predictor, each, split)
        shown = (probs, segments) if each is picked else shown
        result = scores(segments, split.truth > 0) | {"seed": each.seed, "epoch": each.epoch}
        results.append(result | ({"diverged": True} if each.diverged else {}))
    return Scored(split, results, *shown)


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
    scored = [score_split(config, predictor, weights, picked, split) for split in splits]
    if not processes.first():
        return
    folder = results_folder(config, workdir, stage)
    facts = {
        "method": config.method,
        "stage": stage.name,
        "dataset": config.data.dataset,
        "weights": config.init_from or absolute(workdir),
    }
    rows, classes = {}, ""
    for each in scored:
        summary, classes = _write(config, folder, facts, each, writer, picked.step)
        rows |= {f"{each.split.name}{what}": ten for what, ten in summary.items()}
    print(f"\n{splits[-1].name}, each class over all its videos\n{classes}")
    row = METHODS[config.method].published
    comparable = folder == workdir and splits[-1].task == LLP
    published = [row] if row and comparable else []
    synthetic = config.data.dataset == "llp/synthetic"
    print(f"\n{scores_table(rows, published, synthetic)}", flush=True)


def _write(
    config: ConfigDict, folder: str, facts: dict, scored: Scored, writer: Writer, step: int
) -> tuple[dict[str, dict], str]:
    """Writes the files of one split.

    Returns:
      The rows to print, by the suffix that follows the split's name in the table, and the
      printed table of classes.
    """
    split = scored.split
    summary = write_scores(folder, split, scored.results, facts)
    classes = write_details(folder, split, scored.segments)
    main = summary.get(MEAN) or summary[""]
    writer.write_scalars(step, {f"{split.name}_best/{key}": main[key] for key in NAMES})
    draw_timelines(config.eval.plots, folder, split, scored.probs, scored.segments, writer, step)
    return summary, classes


def results_folder(config: ConfigDict, workdir: str, stage: Training) -> str:
    """Where results go: the work directory, or the stage's own folder if it is not the last."""
    if stage.name == stages_of(config)[-1].name:
        return workdir
    folder = os.path.join(workdir, stage.name)
    make_folder(folder)
    return folder
