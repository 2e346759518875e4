"""Scores a trained or published model."""

from ml_collections import ConfigDict

from avvp_jax.data.dataset import Dataset
from avvp_jax.experiment.making import making_of
from avvp_jax.experiment.plan import asked_splits, check_splits
from avvp_jax.experiment.records import warn_of_other_files
from avvp_jax.experiment.weights import read_all_weights, refuse_other_data, spec_of_weights
from avvp_jax.methods import stages_of
from avvp_jax.modes.reporting import refuse_no_videos
from avvp_jax.modes.scoring import score
from avvp_jax.reports.writers import make_writer
from avvp_jax.training.sequence import final_stage


def evaluate(config: ConfigDict, workdir: str) -> None:
    """Scores the model of the work directory, or of `config.init_from`, on the splits."""
    refuse_no_videos(config)
    source = config.init_from or workdir
    stage, spec = final_stage(config, stages_of(config)), spec_of_weights(config, source)
    network = stage.result_network(config, spec)
    weights = read_all_weights(source, network, config, config.eval.stage)
    data = Dataset(config.data, making=making_of(config))
    check_splits(config, data)
    refuse_other_data(spec, data.spec, source)
    warn_of_other_files(source, data.origin)
    splits = [data.split(name) for name in asked_splits(config, data)]
    writer = make_writer(workdir)
    score(config, workdir, stage, network, weights, splits, writer, given=config.init_from)
    writer.close()
