"""Scores models on splits, and writes and prints the results."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool
from ml_collections import ConfigDict

from avvp_jax.data.prepared import MADE_UP
from avvp_jax.data.splits import Split
from avvp_jax.experiment.weights import Weights, pick
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import scores
from avvp_jax.metrics.video_scores import ALL_NAMES, video_scores, whole_probabilities
from avvp_jax.modes.reporting import write_report
from avvp_jax.nn.functional import Network
from avvp_jax.reports.parsed_files import write_parsed
from avvp_jax.reports.results import (
    MEAN,
    Scored,
    draw_timelines,
    write_details,
    write_scores,
)
from avvp_jax.reports.tables import (
    SYNTHETIC_NOTE,
    dense_note,
    fewer_note,
    no_positive_note,
    of_all,
    other_split_note,
    scores_table,
)
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import absolute, make_folder
from avvp_jax.task import LLP
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.run import make_predictor
from avvp_jax.training.sequence import final_stage
from avvp_jax.training.stages import Training

Probabilities = dict[str, np.ndarray]
Segments = Bool[np.ndarray, "videos segments 2 classes"]


def score_split(
    weights: Sequence[Weights], parsed: Sequence[tuple[Probabilities, Segments]], split: Split
) -> list[dict]:
    """The scores of every seed's model on a split; computes and does nothing else.

    Args:
      weights: of every seed.
      parsed: what each says of the split, see parse_split.
      split: with its annotations.

    Returns:
      For each seed the ten scores, of the densely annotated videos; the scores of whole videos;
      `seed`, `epoch`, and `diverged` if it diverged. Scores that there are no annotations for are
      left out.
    """
    results, rows = [], split.dense_rows
    for each, (probs, segments) in zip(weights, parsed, strict=True):
        result = {} if split.truth is None else scores(segments[rows], split.truth[rows] > 0)
        result |= video_scores(whole_probabilities(probs), split.weak_label)
        result |= {"seed": each.seed, "epoch": each.epoch}
        results.append(result | ({"diverged": True} if each.diverged else {}))
    return results


def parse_split(
    predictor: Predictor, weights: Weights, split: Split
) -> tuple[Probabilities, Segments]:
    """The probabilities of one model on a split, by name, and the segments it predicts."""
    probs = predictor.predict(weights.variables, split.features, split.lengths)
    return probs, predicted_segments(probs, weights.decision)


def score_models(
    config: ConfigDict,
    network: Network,
    weights: Sequence[Weights],
    picked: Weights,
    splits: Sequence[Split],
) -> Iterator[Scored]:
    """Scores every seed's model on one split after the other; all processes compute together."""
    predictor = make_predictor(config, network)
    for split in splits:
        parsed = [parse_split(predictor, each, split) for each in weights]
        results = score_split(weights, parsed, split)
        shown = next(p for each, p in zip(weights, parsed, strict=True) if each is picked)
        yield Scored(split, results, *shown, picked.step)


def write_scored(
    config: ConfigDict, folder: str, facts: dict[str, object], scored: Scored, writer: Writer
) -> tuple[dict[str, dict], str]:
    """Writes the scores, details and pictures of a split to a folder.

    Args:
      facts: about the run, written beside the scores.

    Returns:
      Rows of scores to print, by label, and the table of each class.
    """
    split, results, probs, segments, step = scored
    summary = write_scores(folder, split, results, facts)
    classes = write_details(folder, split, probs, segments)
    write_parsed(folder, split, probs, segments)
    main = summary.get(MEAN) or summary[""]
    writer.write_scalars(step, {f"{split.name}_best/{x}": main[x] for x in ALL_NAMES if x in main})
    draw_timelines(config.eval.plots, folder, split, probs, segments, writer, step)
    of = of_all(len(split), split.annotated)
    name = f"{split.name} ({of})" if of else split.name
    return {f"{name}{what}": row for what, row in summary.items()}, classes


def score(
    config: ConfigDict,
    workdir: str,
    stage: Training,
    network: Network,
    weights: Sequence[Weights],
    splits: Sequence[Split],
    writer: Writer,
    given: str = "",
) -> None:
    """Scores every seed's model on every split; the first process writes and prints the results.

    Details and timelines are those of one seed's model, which `config.pick_seed` picks.

    Args:
      given: where the weights were read; empty for the work directory itself.
    """
    picked = pick(weights, config.pick_seed)
    folder, rows, classes = results_folder(config, workdir, stage), {}, ""
    facts = {
        "method": config.method,
        "stage": stage.name,
        "dataset": config.data.dataset,
        "weights": config.init_from or absolute(workdir),
    }
    every = []
    for scored in score_models(config, network, weights, picked, splits):
        if processes.first():  # at once: what is scored stays where the next split fails
            found, classes = write_scored(config, folder, facts, scored, writer)
            rows |= found
            every.append(scored)
    if processes.first():
        published = METHODS[config.method].published
        if folder != workdir or splits[-1].task != LLP:
            published = None
        notes = _notes(config, splits, published is not None)
        print(f"\n{splits[-1].name}, each class over all its videos\n{classes}")
        print(f"\n{scores_table(rows, [published] if published else [], notes)}", flush=True)
        about = {"published": published, "notes": notes, "given": given}
        write_report(config, workdir, folder, stage.name, every, picked, **about)


def _notes(config: ConfigDict, splits: Sequence[Split], published: bool) -> list[str]:
    """What the scores are of, and whether they can be compared with the paper's, if it stands."""
    synthetic = config.data.dataset in MADE_UP
    notes = [SYNTHETIC_NOTE] if synthetic else []
    if published and not synthetic:
        found = [other_split_note(x.name, x.annotated) for x in splits if x.annotated]
        notes += filter(None, found)
    of = {split.name: of_all(len(split), split.annotated) for split in splits}
    notes += [fewer_note(name, of[name]) for name in of if of[name]]
    for split in splits:
        notes.append(dense_note(split.name, split.dense_videos, len(split)))
        if not split.weak_label.any():
            notes.append(no_positive_note(split.name))
    return list(filter(None, notes))


def results_folder(config: ConfigDict, workdir: str, stage: Training) -> str:
    """Where results go: the work directory, or the stage's own folder if it is not the last."""
    if stage.name == final_stage(config, stages_of(config), "").name:
        return workdir
    folder = os.path.join(workdir, stage.name)
    make_folder(folder)
    return folder
