"""MA: exploring heterogeneous clues by modality-aware label estimation.

Wu and Yang, "Exploring Heterogeneous Clues for Weakly-Supervised Audio-Visual
Video Parsing", CVPR 2021.

  base       train on the weak labels
  estimate   find the labels that are absent from a modality, with the base model
  retrain    train from scratch without those labels
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError, first_ten
from avvp_jax.methods.contrastive import contrastive_logits, smoothed_cross_entropy
from avvp_jax.methods.losses import mmil_losses
from avvp_jax.methods.ma.estimation import estimate
from avvp_jax.methods.ma.removed_labels import read_removed_labels, write_removed_labels
from avvp_jax.methods.targets import RemovedLabels, no_arrays, targets, weak_targets
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.nn.parser import Parser
from avvp_jax.reports.class_tables import ClassTable, beside
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.training import keys
from avvp_jax.training.artefacts import Artefact, Maker
from avvp_jax.training.run import Run, Stage
from avvp_jax.training.selection import take_seed
from avvp_jax.training.stages import Training
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import LossAndParts


def loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The MMIL loss, and the contrastive loss of audio after the encoder and frames before it."""
    lengths = batch.get("lengths")
    output = parser(batch["features"], key, lengths=lengths)
    parts = mmil_losses(output, batch["targets"], batch["weight"])
    streams = output["audio_stream"], output["visual_tokens"]
    logits = contrastive_logits(*streams, parser.arithmetic.precision)
    parts["loss/contrastive"] = smoothed_cross_entropy(logits, batch["weight"], lengths)
    return sum(parts.values()), parts


def stages(config: ConfigDict) -> list[Stage]:
    """Base training, estimation, retraining; if a file gives the labels, only the last one."""
    retrain = Training(
        "retrain", loss, no_arrays, own=retraining_arrays, demands=usable_removed_labels
    )
    if config.ma.removed_labels:
        return [retrain]
    base = Training("base", loss, weak_targets)
    return [base, estimation(base), retrain]


def estimation(base: Training) -> Artefact:
    """Stage 2: the labels to remove for every seed, found with its model of stage 1."""

    def maker(run: Run, writer: Writer) -> Maker:
        network, best = base.result_network(run.config, run.spec), base.models(run)

        def make(index: int, path: str) -> None:
            variables, _, _ = take_seed(best, index)
            removed = estimated_labels(run, network, variables, index)
            rows = removed_table(run.spec.task.classes, run.train.weak_label, removed)
            rows.write(beside(path))  # first, because a stage with its labels is not run again
            write_removed_labels(path, removed, run.train.ids)
            table = rows.text()
            writer.write_texts(index, {f"{run.scope}estimate/removed labels": table})
            print(table, flush=True)

        return make

    return Artefact("estimate", "removed_labels.npz", maker, removed_labels)


def removed_table(
    classes: Sequence[str], weak_label: Float[np.ndarray, "videos classes"], removed: RemovedLabels
) -> ClassTable:
    """A table of each class's number of labels, and of those removed from each modality."""
    caption = (
        "How many training videos are labelled with each class, and in how many of them the label "
        "was removed because the class is probably not heard (no audio) or not seen (no visual). "
        "Training then no longer asks for it there."
    )
    counted = {"labels": weak_label, "no audio": removed.audio, "no visual": removed.visual}
    columns = {name: x.sum(axis=0).astype(int) for name, x in counted.items()}
    totals = [int(column.sum()) for column in columns.values()]
    return ClassTable("labels removed", caption, classes, columns, "d", "all classes", totals)


def estimated_labels(run: Run, network: Network, variables: Variables, index: int) -> RemovedLabels:
    """The labels that one seed's model finds absent from a modality.

    Args:
      index: of the seed in `run.seeds`.
    """
    # Each seed draws partners of its own, always the same ones.
    key = jax.random.fold_in(keys.root_key(run.options.estimation_seed), run.seeds[index])
    return estimate(
        network,
        variables,
        run.train.features,
        run.train.weak_label,
        key,
        run.config.eval.batch_size,
        make_mesh(**run.config.mesh),
        run.train.lengths,
    )


def removed_labels(run: Run, index: int) -> RemovedLabels:
    """One seed's removed labels, from `config.METHOD.removed_labels` or from stage 2.

    Args:
      index: of the seed in `run.seeds`.
    """
    path = run.options.removed_labels or run.artefact("estimate", "removed_labels.npz", index)
    train = run.train
    classes = len(run.spec.task.classes)
    removed = read_removed_labels(path, train.ids, train.csv_row, classes, train.left_out)
    refuse_strange_labels(path, train, removed)
    return removed


def usable_removed_labels(run: Run) -> None:
    """Checks the removed labels in a file that the config names.

    Raises:
      UserError: they are damaged, or of other videos.
    """
    removed_labels(run, 0)


def refuse_strange_labels(path: str, train: Split, removed: RemovedLabels) -> None:
    """Checks that every removed label is one that its video has.

    Raises:
      UserError: some are not, so the file was made from other videos.
    """
    strange = (removed.audio | removed.visual) & (train.weak_label == 0)
    if strange.any():
        videos = [train.ids[row] for row in np.flatnonzero(strange.any(axis=1))]
        raise UserError(
            f"{path}: removes labels that these videos do not have: {first_ten(videos)}; it must "
            "come from the same training csv"
        )


def refined_targets(run: Run, index: int) -> dict:
    """One seed's targets, without the removed labels."""
    edit = run.options.edit_video_target
    return targets(run.train.weak_label, removed_labels(run, index), edit_video_target=edit)


def retraining_arrays(run: Run, index: int) -> BatchArrays:
    """Stage 3: one seed's targets, without the removed labels."""
    return BatchArrays({"targets": refined_targets(run, index)})
