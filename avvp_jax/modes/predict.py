"""Writes predicted probabilities and events, for splits or for a folder of features."""

from ml_collections import ConfigDict

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.prepared import load_features
from avvp_jax.data.splits import Split
from avvp_jax.experiment.making import making_of
from avvp_jax.experiment.plan import asked_splits
from avvp_jax.experiment.records import warn_of_other_files
from avvp_jax.experiment.weights import read_weights, refuse_other_data, spec_of_weights
from avvp_jax.methods import stages_of
from avvp_jax.modes.scoring import parse_split, results_folder
from avvp_jax.reports.results import draw_timelines, write_predictions
from avvp_jax.reports.writers import make_writer
from avvp_jax.runtime import processes
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.streams import DataSpec
from avvp_jax.training.run import make_predictor
from avvp_jax.training.sequence import final_stage


def predict(config: ConfigDict, workdir: str) -> None:
    """Writes the predictions of the model of the work directory, or of `config.init_from`."""
    source = config.init_from or workdir
    stage, spec = final_stage(config, stages_of(config)), spec_of_weights(config, source)
    network = stage.result_network(config, spec)
    weights = read_weights(source, network, config, config.eval.stage)
    splits = _splits(config, spec, source)
    folder, writer = results_folder(config, workdir, stage), make_writer(workdir)
    predictor = make_predictor(config, network)
    for split in splits:
        parsed = parse_split(predictor, weights, split)
        if not processes.first():
            continue
        path = write_predictions(folder, split, *parsed)
        draw_timelines(config.eval.plots, folder, split, *parsed, writer, weights.step)
        print(f"{path}: {len(split)} videos", flush=True)
    writer.close()


def _splits(config: ConfigDict, spec: DataSpec, source: str) -> list[Split]:
    """The splits to parse; a folder of features counts as one."""
    if config.data.features_only:
        split = load_features(config.data.features_only, spec)
        refuse_differences({f"config.data.features_only={config.data.features_only}": split.ids})
        return [split]
    data = Dataset(config.data, making=making_of(config))
    refuse_other_data(spec, data.spec, source)
    warn_of_other_files(source, data.origin)
    return [data.split(name) for name in asked_splits(config, data)]
