"""JoMoLD: joint-modal label denoising.

Cheng et al., "Joint-Modal Label Denoising for Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2022.

  estimator   train without cross-modal attention
  ratios      estimate each class's share of noisy labels in each modality
  denoise     train from scratch, with noisy labels removed from every batch
"""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from avvp_jax.methods.contrastive import contrastive_logits, expected_probability
from avvp_jax.methods.jomold.denoising import (
    NoiseRatios,
    edited_targets,
    noise_ratios,
    removal_counts,
    removed_shares,
)
from avvp_jax.methods.jomold.noise_ratios import read_noise_ratios, write_noise_ratios
from avvp_jax.methods.losses import mmil_losses
from avvp_jax.methods.targets import targets, weak_targets
from avvp_jax.nn.parser import Parser
from avvp_jax.reports.class_tables import ClassTable, beside
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.training.artefacts import Artefact, Maker
from avvp_jax.training.run import Run, Stage, make_predictor
from avvp_jax.training.selection import take_seed
from avvp_jax.training.stages import Training
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import LossAndParts

# Weight of the audio loss in denoised training, as in the published program.
AUDIO_WEIGHT = 2.0


def estimator_loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The MMIL loss, and the contrastive loss of both streams after the encoder."""
    output = parser(batch["features"], key, lengths=batch.get("lengths"))
    parts = losses(output, parser, batch, batch["targets"])
    return sum(parts.values()), parts


def denoised_loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The same loss on denoised targets, with the audio loss counted twice."""
    rank_key, key = jax.random.split(key)
    edited = edited_targets(parser, batch, rank_key)
    output = parser(batch["features"], key, lengths=batch.get("lengths"))
    parts = losses(output, parser, batch, edited)
    total = sum(parts.values()) + (AUDIO_WEIGHT - 1) * parts["loss/audio"]
    return total, parts | removed_shares(batch["targets"], edited, batch["weight"])


def losses(
    output: PyTree[Float[Array, "videos ..."]],
    parser: nnx.Module,
    batch: dict,
    batch_targets: PyTree[Float[ArrayLike, "videos classes"]],
) -> PyTree[Float[Array, ""]]:
    """The MMIL losses, and the contrastive loss of both streams after the encoder.

    Args:
      output: of the parser, for the batch.
      batch_targets: those of the batch, perhaps edited.
    """
    weight, lengths = batch["weight"], batch.get("lengths")
    parts = mmil_losses(output, batch_targets, weight)
    streams = output["audio_stream"], output["visual_stream"]
    logits = contrastive_logits(*streams, parser.arithmetic.precision)
    return parts | {"loss/contrastive": expected_probability(logits, weight, lengths)}


def stages(config: ConfigDict) -> list[Stage]:
    """Estimator, ratios, denoised training; if a file gives the ratios, only the last one."""
    denoised = Training(
        "denoise", denoised_loss, weak_targets, own=denoising_arrays, demands=usable_ratios
    )
    if config.jomold.noise_ratios:
        return [denoised]
    estimator = Training(
        "estimator", estimator_loss, weak_targets, model={"cross_attention": False}
    )
    return [estimator, estimation(estimator), denoised]


def estimation(estimator: Training) -> Artefact:
    """Stage 2: every seed's noise ratios; videos are read in data order, without shuffling."""

    def maker(run: Run, writer: Writer) -> Maker:
        best = estimator.models(run)
        predictor = make_predictor(run.config, estimator.result_network(run.config, run.spec))

        def make(index: int, path: str) -> None:
            variables, _, _ = take_seed(best, index)
            probs = predictor.predict(variables, run.train.features, run.train.lengths)
            ratios = estimated_ratios(run, probs)
            rows = ratios_table(run.spec.task.classes, ratios)
            rows.write(beside(path))  # first, because a stage with its ratios is not run again
            write_noise_ratios(path, ratios)
            if processes.first():
                show_ratios(run, ratios, path.replace(".npz", ".png"), index, writer)

        return make

    return Artefact("ratios", "noise_ratios.npz", maker, read_ratios)


def estimated_ratios(run: Run, probs: dict[str, np.ndarray]) -> NoiseRatios:
    """Noise ratios from an estimator's probabilities of the training videos."""
    return noise_ratios(
        probs["audio_prob"],
        probs["visual_prob"],
        targets(run.train.weak_label),
        run.config.train.batch_size,
        audio_threshold=run.options.audio_threshold,
        visual_threshold=run.options.visual_threshold,
    )


def ratios_table(classes: Sequence[str], ratios: NoiseRatios) -> ClassTable:
    """A table of each class's noise ratios, audio and visual."""
    caption = (
        "The share of the videos labelled with a class in which it is estimated not to be heard "
        "(audio) or not to be seen (visual): 0 means that every label holds in that modality, 1 "
        "that none does. Training leaves out about that share of the labels."
    )
    return ClassTable("noise ratio", caption, classes, ratios._asdict(), ".3f")


def show_ratios(run: Run, ratios: NoiseRatios, chart: str, index: int, writer: Writer) -> None:
    """Draws a seed's noise ratios, logs and prints them."""
    from avvp_jax.reports.bars import draw_bars  # takes a second, for matplotlib

    classes = run.spec.task.classes
    picture = draw_bars(chart, "Noise ratios", classes, ratios._asdict())
    table = ratios_table(classes, ratios).text()
    name = f"{run.scope}ratios/noise ratios"
    writer.write_images(index, {name: picture[None]})
    writer.write_texts(index, {name: table})
    print(table, flush=True)


def read_ratios(run: Run, index: int) -> NoiseRatios:
    """One seed's noise ratios, from the method's `noise_ratios` or from stage 2.

    Args:
      index: of the seed in `run.seeds`.
    """
    path = run.options.noise_ratios or run.artefact("ratios", "noise_ratios.npz", index)
    return read_noise_ratios(path, len(run.spec.task.classes))


def usable_ratios(run: Run) -> None:
    """Checks the noise ratios in a file that the config names.

    Raises:
      UserError: they are damaged.
    """
    read_ratios(run, 0)


def denoising_arrays(run: Run, index: int) -> BatchArrays:
    """Stage 3: one seed's tables of how many labels to remove from a batch."""
    config = run.config
    ratios, size = read_ratios(run, index), min(config.train.batch_size, len(run.train))
    steps = -(-len(run.train) // size)
    counts = {
        modality: removal_counts(ratio, size, steps, run.options.warmup)
        for modality, ratio in ratios._asdict().items()
    }
    return BatchArrays(shared={"removal_counts": jax.tree.map(np.asarray, counts)})
