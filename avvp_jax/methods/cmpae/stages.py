"""CMPAE: evidence of presence and absence across modalities.

Gao, Chen and Xu, "Collecting Cross-Modal Presence-Absence Evidence for Weakly-Supervised
Audio-Visual Event Perception", CVPR 2023.

  estimator   as in JoMoLD; only if no file gives the noise ratios
  ratios      as in JoMoLD, under the same condition
  train       train with noisy labels removed from every batch, as JoMoLD does
  thresholds  choose a threshold for each visual class, with the model after a fixed epoch
"""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.errors import warn
from avvp_jax.methods.cmpae.mutual import mutual_loss
from avvp_jax.methods.cmpae.network import EvidenceParser
from avvp_jax.methods.cmpae.thresholds import (
    chosen_thresholds,
    decision_by,
    write_thresholds,
)
from avvp_jax.methods.han.method import MODEL as PARSER_MODEL
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.methods.jomold.denoising import edited_targets, removed_shares
from avvp_jax.methods.jomold.method import LAYOUT as JOMOLD_LAYOUT
from avvp_jax.methods.targets import weak_targets
from avvp_jax.metrics.events import Decision
from avvp_jax.nn.functional import Network, parser_network
from avvp_jax.reports.writers import Writer
from avvp_jax.storage.reading import is_there
from avvp_jax.streams import DataSpec
from avvp_jax.task import Task
from avvp_jax.training.artefacts import Artefact, Maker
from avvp_jax.training.run import Run, Stage, decision_of, left_by, make_predictor
from avvp_jax.training.selection import take_fixed
from avvp_jax.training.stages import Training, configured
from avvp_jax.training.step import LossAndParts

FILE = "thresholds.npz"
# Weights of the losses; those that are not here count once.
WEIGHTS = {"loss/audio": 2.0, "loss/visual": 0.6, "loss/global": 0.6}


def loss(parser: EvidenceParser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """JoMoLD's losses on denoised targets, weighted, and the mutual loss.

    In every second step of an epoch, from its second on, the global branch learns from the
    modalities; in the others they learn from it.
    """
    rank_key, key = jax.random.split(key)
    edited = edited_targets(parser, batch, rank_key)
    output = parser(batch["features"], key, lengths=batch.get("lengths"))
    parts = jomold.losses(output, parser, batch, edited)
    of_global, weight = batch["step_of_epoch"] % 2 == 1, batch["weight"]
    parts["loss/mutual"] = mutual_loss(output, batch["targets"]["video"], weight, of_global)
    total = sum(WEIGHTS.get(name, 1.0) * part for name, part in parts.items())
    return total, parts | removed_shares(batch["targets"], edited, weight)


def stages(config: ConfigDict) -> list[Stage]:
    """JoMoLD's estimator and ratios, training, thresholds; what files give is left out."""
    train = Training(
        "train",
        loss,
        weak_targets,
        own=jomold.denoising_arrays,
        demands=usable_files,
        network=configured(EvidenceParser),
        fixed_epoch=early_epoch,
        decision=decision,
    )
    after = [] if config.cmpae.thresholds else [thresholds(train)]
    if config.cmpae.noise_ratios:
        return [train, *after]
    estimator = Training(
        "estimator",
        jomold.estimator_loss,
        weak_targets,
        demands=usable_files,  # those of the first training are asked for
        model={"cross_attention": False},
        section="estimator",
        layout=JOMOLD_LAYOUT,
        network=noise_estimator,
    )
    return [estimator, jomold.estimation(estimator), train, *after]


def early_epoch(config: ConfigDict) -> int:
    """The epoch whose model the thresholds are chosen with; of a shorter training, its last."""
    return min(config.cmpae.early_epoch, config.train.epochs)


def thresholds(train: Training) -> Artefact:
    """Every seed's thresholds, chosen on val; without dense annotations there, the usual one."""

    def maker(run: Run, writer: Writer) -> Maker:
        models, val, usual = train.models(run), run.data.val, decision_of(run.config)
        predictor = make_predictor(run.config, train.result_network(run.config, run.spec))

        def make(index: int, path: str) -> None:
            variables, _ = take_fixed(models, index)
            probs = predictor.predict(variables, val.features, val.lengths)
            if val.truth is None:
                classes = len(run.spec.task.classes)
                visual, scores = np.full(classes, usual.video), np.zeros((classes, 0))
            else:
                rows = val.dense_rows
                own = {name: x[rows] for name, x in probs.items()}
                visual, scores = chosen_thresholds(own, val.truth[rows] > 0, usual)
            write_thresholds(path, visual, scores)

        return make

    return Artefact("thresholds", FILE, maker, read)


def read(run: Run, index: int) -> Decision:
    """One seed's decision, by the thresholds that its stage left.

    Raises:
      UserError: they are damaged, or of another number of classes.
    """
    path = run.artefact("thresholds", FILE, index)
    return decision_by(path, decision_of(run.config), run.spec.task)


def usable_files(run: Run) -> None:
    """Checks the files of noise ratios and of thresholds that the config names.

    Raises:
      UserError: one is damaged, or of another number of classes.
    """
    if run.options.noise_ratios:
        jomold.usable_ratios(run)
    if run.options.thresholds:
        decision_by(run.options.thresholds, decision_of(run.config), run.spec.task)


def decision(
    config: ConfigDict, task: Task, workdir: str | None, seed: int | None
) -> Decision | None:
    """How a seed's model decides: by the thresholds of a file, or by those of its own stage.

    None where neither is there, as after training alone, which a warning says.

    Raises:
      UserError: they are damaged, or of another number of classes.
    """
    path = config.cmpae.thresholds
    if not path and workdir is not None:
        path = left_by(config, workdir, "thresholds", FILE, seed)
        if not is_there(path):
            usual = config.eval.video_threshold
            warn(f"{path} is not there: what is seen is decided at {usual} for all classes")
            path = ""
    return decision_by(path, decision_of(config), task) if path else None


def noise_estimator(config: ConfigDict, spec: DataSpec) -> Network:
    """JoMoLD's estimator, of the same width: it averages the frames of a segment."""
    model = {key: value for key, value in config.model.items() if key in PARSER_MODEL}
    return parser_network(spec.widths, len(spec.task.classes), model)
