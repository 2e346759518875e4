"""Models scored on the splits of a data set."""

import os

from ml_collections import ConfigDict

from avvp_jax.data.prepared import open_dataset
from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.experiment.weights import Weights, pick
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.reports.results import MEAN, draw_timelines, write_details, write_scores
from avvp_jax.reports.tables import scores_table
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import absolute, make_folder
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.run import configured_split, make_predictor
from avvp_jax.training.stages import Training, names


def check_splits(config: ConfigDict, dataset) -> None:
    """Refuses splits that cannot be scored, before any time is spent on a model."""
    known = [name for name in dataset.info.splits if name != "train"]
    for name in names(config.eval.splits):
        if name not in known:
            raise UserError(
                f"config.eval.splits names {name!r}, which has no dense annotations to score "
                f"with; use {', '.join(known)}"
            )


def load_splits(config: ConfigDict) -> list[Split]:
    """The splits to score."""
    dataset = open_dataset(config.data)
    check_splits(config, dataset)
    return [configured_split(config, dataset, name) for name in names(config.eval.splits)]


def evaluate_splits(
    config, workdir: str, stage: Training, weights: list[Weights], splits: list[Split], writer
) -> None:
    """Scores every seed's model; what is more than scores is of the picked one."""
    folder, network = results_folder(config, workdir, stage), stage.result_network(config)
    picked = pick(weights, config.pick_seed)
    facts = {
        "method": config.method,
        "stage": stage.name,
        "dataset": config.data.dataset,
        "weights": config.init_from or absolute(workdir),
    }
    predictor = make_predictor(config, network)
    step, rows = picked.step, {}
    for split in splits:
        results, shown = [], None
        for each in weights:
            probs, segments = predict_split(config, predictor, each, split)
            if not processes.first():
                continue
            ten = scores(segments, split.truth > 0)
            result = ten | {"seed": each.seed, "epoch": each.epoch}
            results.append(result | ({"diverged": True} if each.diverged else {}))
            shown = (probs, segments) if each is picked else shown
        if not processes.first():
            continue
        summary = write_scores(folder, split, results, facts)
        classes = write_details(folder, split, shown[1])
        rows |= {f"{split.name}{what}": ten for what, ten in summary.items()}
        main = summary.get(MEAN) or summary[""]
        writer.write_scalars(step, {f"{split.name}_best/{key}": main[key] for key in NAMES})
        draw_timelines(config.eval.plots, folder, split, *shown, writer, step)
    if not processes.first():
        return
    synthetic = config.data.dataset == "llp/synthetic"
    print(f"\n{splits[-1].name}, each class over all its videos\n{classes}")
    published = METHODS[config.method].published
    rows_below = [published] if published and folder == workdir else []
    print(f"\n{scores_table(rows, rows_below, synthetic)}", flush=True)


def predict_split(config, predictor: Predictor, weights: Weights, split: Split):
    """Probabilities by name and predicted segments of a split."""
    probs = predictor.predict(weights.variables, split.features)
    return probs, predicted_segments(probs, config.eval.video_filter)


def results_folder(config: ConfigDict, workdir: str, stage: Training) -> str:
    """Where results go: the work directory, or for a stage before the last one its own folder."""
    if stage.name == stages_of(config)[-1].name:
        return workdir
    folder = os.path.join(workdir, stage.name)
    make_folder(folder)
    return folder
