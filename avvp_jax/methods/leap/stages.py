"""LEAP: label-anticipated event disentanglement, on the pyramid encoder.

Zhou et al., "Label-Anticipated Event Disentanglement for Audio-Visual Video Parsing", ECCV 2024.
VALOR's teachers label every segment; a single stage trains on their labels.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from avvp_jax.methods.leap.label_embeddings import NAME, label_embeddings
from avvp_jax.methods.losses import bce, cross_entropy, weighted_mean
from avvp_jax.methods.taught import taught_arrays, teachers_of_training
from avvp_jax.nn.cosines import cosines
from avvp_jax.nn.label_decoder import LabelParser
from avvp_jax.nn.time_mask import Lengths, cleared, present
from avvp_jax.runtime import processes
from avvp_jax.task import MODALITIES
from avvp_jax.training.checkpoints import has_state
from avvp_jax.training.run import Run, Stage, options_of
from avvp_jax.training.stages import Training, configured
from avvp_jax.training.step import Loss, LossAndParts

GIVEN = {NAME: label_embeddings}
FLOOR = 0.01  # of the target of a similarity, as in the published program
LEAST = 1e-8  # in place of no classes at all

Labels = Float[ArrayLike, "videos segments classes"]
Pairs = Float[Array, "videos segments segments"]


def program_target(audio: Labels, visual: Labels) -> Pairs:
    """How much an audio and a visual segment share, as the published program counts it.

    It is x / (1 + x) + 0.01, where x is the number of classes in both, divided by the largest
    number of classes in any one segment of the video.
    """
    counts = jnp.maximum(audio.sum(axis=2).max(axis=1), visual.sum(axis=2).max(axis=1))
    share = _common(audio, visual) / jnp.where(counts > 0, counts, LEAST)[:, None, None]
    return share / (1 + share) + FLOOR


def paper_target(audio: Labels, visual: Labels) -> Pairs:
    """The same as the paper describes it: intersection over union of their classes."""
    common = _common(audio, visual)
    union = audio.sum(axis=2)[:, :, None] + visual.sum(axis=2)[:, None, :] - common
    return common / jnp.maximum(union, 1)


TARGETS = {"program": program_target, "paper": paper_target}


def _common(audio: Labels, visual: Labels) -> Pairs:
    """How many classes are in both an audio segment (row) and a visual one (column)."""
    return jnp.einsum("btc,bsc->bts", audio, visual, precision=jax.lax.Precision.HIGHEST)


def similarity_loss(
    streams: PyTree[Float[Array, "videos segments width"]],
    labels: PyTree[Labels],
    weight: Float[ArrayLike, " videos"],
    precision: jax.lax.Precision,
    lengths: Lengths = None,
    target: str = "program",
) -> Float[Array, ""]:
    """The squared error of the positive cosines of audio and visual segments.

    Args:
      streams, labels: `audio` and `visual`; the labels are 0 in segments that are not there.
      target: one of TARGETS.
    """
    similar = jax.nn.relu(cosines(streams["audio"], streams["visual"], precision))
    error = jnp.square(similar - TARGETS[target](labels["audio"], labels["visual"]))
    rows = error.mean(axis=2, where=present(lengths, error, axis=2))
    return weighted_mean(rows.mean(axis=1, where=present(lengths, rows)), weight)


def loss(
    parser: LabelParser, batch: dict, key: PRNGKeyArray, target: str = "program"
) -> LossAndParts:
    """The losses of whole videos, of segments, and of the similarity of the streams.

    A video has a class in a modality where any of its segments has it by that modality's teacher.
    The loss of global_prob has no gradient, because that is 0 or 1; it is logged with the others,
    as published.

    Args:
      batch: `targets` with `video`, the weak label, and `pseudo_label`, see taught_arrays.
      target: of the similarity, one of TARGETS.
    """
    weight, lengths = batch["weight"], batch.get("lengths")
    output = parser(batch["features"], key, lengths=lengths)
    taught = cleared(batch["pseudo_label"], lengths)
    parts = {"loss/global": bce(output["global_prob"], batch["targets"]["video"], weight)}
    for index, modality in enumerate(MODALITIES):
        whole = taught[modality].max(axis=1)
        parts[f"loss/{modality}"] = bce(output[f"{modality}_prob"], whole, weight)
        entropy = cross_entropy(output["frame_prob"][:, :, index], taught[modality])
        entropy = entropy.mean(axis=(1, 2), where=present(lengths, entropy))
        parts[f"loss/teacher_{modality}"] = weighted_mean(entropy, weight)
    streams = {modality: output[f"{modality}_stream"] for modality in MODALITIES}
    precision = parser.arithmetic.precision
    parts["loss/similarity"] = similarity_loss(streams, taught, weight, precision, lengths, target)
    return sum(parts.values()), parts


# One function for each, because programs are compiled for a loss.
LOSSES: dict[str, Loss] = {name: partial(loss, target=name) for name in TARGETS}


def stages(config: ConfigDict) -> list[Stage]:
    """A single stage: training."""
    return [
        Training(
            "train",
            LOSSES[config.leap.similarity],
            taught_arrays,
            demands=demands,
            network=configured(LabelParser),
            given=GIVEN,
        )
    ]


def demands(run: Run) -> None:
    """Checks that there are the teachers' labels, and embeddings of the classes.

    A run that resumes has these in its state; of groups of seeds, one may have yet to begin.

    Raises:
      UserError: says what is missing, and how to get it.
    """
    teachers_of_training(run)
    begun = processes.as_the_first(processes.first() and has_state(run.folder("train")))
    if not (run.config.init_from or begun):
        shape = len(run.spec.task.classes), run.config.model.label_width
        label_embeddings(options_of(run.config), run.spec.task, shape)
