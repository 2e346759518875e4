"""Training on weak labels of videos and teachers' labels of segments, as VALOR does.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised
Audio-Visual Event Parser", NeurIPS 2023.
"""

import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.methods.losses import bce, weighted_mean
from avvp_jax.nn.time_mask import Lengths, present
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import MODALITIES
from avvp_jax.training.run import Run
from avvp_jax.training.state import BatchArrays

PSEUDO_LABEL_SOURCE = "CLIP.zip and CLAP.zip of huggingface.co/datasets/NTUBarista/valor_features"


def taught_losses(
    output: PyTree[Float[Array, "videos ..."]], batch: dict
) -> PyTree[Float[Array, ""]]:
    """The loss of global_prob on weak labels, and of each modality's segments on its teacher's.

    Args:
      output: a parser's, with `frame_logits`.
      batch: with what `taught_arrays` gives.
    """
    weight, lengths = batch["weight"], batch.get("lengths")
    parts = {"loss/global": bce(output["global_prob"], batch["targets"]["video"], weight)}
    for index, modality in enumerate(MODALITIES):
        logits, taught = output["frame_logits"][:, :, index], batch["pseudo_label"][modality]
        parts[f"loss/teacher_{modality}"] = teacher_loss(logits, taught, weight, lengths)
    return parts


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
