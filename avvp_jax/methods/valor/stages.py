"""VALOR, VALOR+ and VALOR++: teachers of one modality label every segment.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised
Audio-Visual Event Parser", NeurIPS 2023. The three differ only in their configs.

  teachers   score the teachers' labels on the densely annotated splits
  train      train on the weak labels and on the teachers' labels
"""

import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.methods.losses import bce, weighted_mean
from avvp_jax.methods.valor.elaboration import PSEUDO_LABEL_SOURCE, teachers_table
from avvp_jax.nn.parser import Parser
from avvp_jax.nn.time_mask import Lengths, present
from avvp_jax.reports.class_tables import beside
from avvp_jax.reports.tables import dense_note
from avvp_jax.reports.writers import Writer
from avvp_jax.storage.writing import write_lines
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import MODALITIES
from avvp_jax.training.artefacts import Report
from avvp_jax.training.run import Run, Stage
from avvp_jax.training.stages import Training
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import LossAndParts


def loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The loss of global_prob on weak labels, and of each modality's segments on its teacher's."""
    weight, lengths = batch["weight"], batch.get("lengths")
    output = parser(batch["features"], key, lengths=lengths)
    parts = {"loss/global": bce(output["global_prob"], batch["targets"]["video"], weight)}
    for index, modality in enumerate(MODALITIES):
        logits, taught = output["frame_logits"][:, :, index], batch["pseudo_label"][modality]
        parts[f"loss/teacher_{modality}"] = teacher_loss(logits, taught, weight, lengths)
    return sum(parts.values()), parts


def teacher_loss(
    logits: Float[Array, "videos segments classes"],
    taught: Float[ArrayLike, "videos segments classes"],
    weight: Float[ArrayLike, " videos"],
    lengths: Lengths = None,
) -> Float[Array, ""]:
    """Sigmoid cross entropy of one modality's segments with its teacher's labels.

    Args:
      lengths: how many segments of each video are there; the mean is over these.
    """
    entropy = optax.sigmoid_binary_cross_entropy(logits, taught)
    return weighted_mean(entropy.mean(axis=(1, 2), where=present(lengths, entropy)), weight)


def stages(config: ConfigDict) -> list[Stage]:
    """The report on the teachers' labels, and training."""
    return [
        Report("teachers", "quality.txt", write_quality),
        Training("train", loss, taught_arrays, demands=teachers_of_training),
    ]


def taught_arrays(run: Run) -> BatchArrays:
    """Batch arrays: weak labels, and the teachers' labels of every segment."""
    train = run.train
    pseudo = {
        modality: train.pseudo_label[:, :, index].astype("float32")
        for index, modality in enumerate(MODALITIES)
    }
    return BatchArrays({"targets": {"video": train.weak_label}, "pseudo_label": pseudo})


def teachers_of_training(run: Run) -> None:
    """Checks that the training videos have labels by the teachers.

    Raises:
      UserError: the data was prepared without them.
    """
    require_pseudo_labels(run, run.train)


def require_pseudo_labels(run: Run, split: Split) -> None:
    """Checks that a split has labels by the teachers.

    Raises:
      UserError: the data was prepared without them; says how to get them.
    """
    if split.pseudo_label is None:
        folders = " and ".join(PSEUDO_LABELS.values())
        raise UserError(
            f"{run.data.folder}: prepared without the teachers' segment pseudo labels; put "
            f"{folders} beside the features (get {PSEUDO_LABEL_SOURCE}, or make them with "
            "python -m tfds_llp.extract of the videos or python -m tfds_llp.elaborate of logits), "
            "then delete this folder, and it is prepared again"
        )


NO_TRUTH = "No split has dense annotations: there is nothing to score the teachers' labels with."


def write_quality(run: Run, path: str, writer: Writer) -> None:
    """Stage 1: writes the scores of the teachers' labels on the densely annotated videos."""
    splits = [run.data.split(name) for name in run.data.held_out]
    labels = {}
    for split in splits:
        require_pseudo_labels(run, split)
        if split.truth is not None:
            rows = split.dense_rows
            labels[split.name] = split.pseudo_label[rows], split.truth[rows]
    report = NO_TRUTH
    if labels:
        table = teachers_table(run.spec.task.classes, labels)
        table.write(beside(path))
        report = table.text()
    notes = [dense_note(split.name, split.dense_videos, len(split)) for split in splits]
    report = "\n".join([report, *filter(None, notes)] if labels else [report])
    write_lines(path, [report])
    writer.write_texts(0, {"teachers/quality": report})
    print(report, flush=True)
