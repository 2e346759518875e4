"""JoMoLD: noise ratios of the weak labels, and the labels to remove from a training batch.

Cheng et al., "Joint-Modal Label Denoising for Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2022, sections 3.2 and 3.3.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from avvp_jax.methods.losses import cross_entropy, weighted_mean

WARMUPS = ("published", "linear")

# The noise ratios warm up over this share of the first epoch.
WARMUP_EPOCHS = 0.9
NO_LABELS = 1e-6  # in place of no labels at all


class NoiseRatios(NamedTuple):
    """For each class, the share of its labels that are noise in a modality; float64."""

    audio: Float[np.ndarray, " classes"]
    visual: Float[np.ndarray, " classes"]


def noise_ratios(
    audio_prob: Float[np.ndarray, "videos classes"],
    visual_prob: Float[np.ndarray, "videos classes"],
    targets: PyTree[Float[np.ndarray, "videos classes"]],
    batch_size: int,
    *,
    audio_threshold: float,
    visual_threshold: float,
) -> NoiseRatios:
    """Noise ratios, from a trained estimator's probabilities of all training videos.

    A label is noisy in a modality if probability times target, divided by the class's mean
    probability, is below the threshold. As published, the mean is taken of the batches' means,
    so a short last batch counts as much as a full one. A class without videos has ratio 0.
    """
    label = targets["video"] > 0
    count = label.sum(axis=0)

    def ratio(prob, target, threshold):
        batches = [prob[i : i + batch_size].mean(axis=0) for i in range(0, len(prob), batch_size)]
        noisy = prob * target / np.mean(batches, axis=0) < threshold
        return (noisy & label).sum(axis=0) / np.maximum(count, 1)

    return NoiseRatios(
        ratio(audio_prob, targets["audio"], audio_threshold),
        ratio(visual_prob, targets["visual"], visual_threshold),
    )


def removal_counts(
    ratio: Float[np.ndarray, " classes"],
    batch_size: int,
    steps: int,
    warmup: Literal["published", "linear"],
) -> Int[np.ndarray, "steps classes positives"]:
    """How many labels to remove from a batch with n positives of a class: floor(ratio * n).

    There is a table for each step of the first epoch, in which the ratio warms up, and a last
    one for all later steps. As published, they are computed in float64 on the host: in float32,
    the product of a ratio and a count can fall just short of a whole number.

    warmup="published": in each step, the program multiplies its current ratio by the progress
    and keeps the smaller value. The progress starts at 0, so nothing is removed in the first
    epoch; afterwards the full ratio applies.
    warmup="linear": the ratio grows linearly over the first 0.9 epoch, as in the paper.
    """
    progress = np.zeros(steps)
    if warmup == "linear":
        progress = np.minimum(np.arange(steps) / (WARMUP_EPOCHS * steps), 1.0)
    share = np.append(progress, 1.0)[:, None] * ratio.astype(np.float64)
    return np.floor(share[:, :, None] * np.arange(batch_size + 1)).astype(np.int32)


def edited_targets(
    parser: nnx.Module, batch: dict, key: PRNGKeyArray
) -> PyTree[Float[ArrayLike, "videos classes"]]:
    """The targets of a training batch without the labels that are noise.

    A forward pass of the network being trained ranks the losses. It has no gradient and no
    cross-modal attention, but it has dropout.

    Args:
      parser: has without_cross_attention, as Parser.
      batch: beside what losses read, `removal_counts` by modality, see removal_counts.
      key: for dropout.
    """
    ranking = parser.without_cross_attention(batch["features"], key, lengths=batch.get("lengths"))
    counts = batch["removal_counts"]
    # Each step of the first epoch has a table of its own; later steps share the last one.
    row = jnp.minimum(batch["step"], len(counts["audio"]) - 1)
    return denoise(
        jax.lax.stop_gradient(ranking["audio_prob"]),
        jax.lax.stop_gradient(ranking["visual_prob"]),
        batch["targets"],
        counts["audio"][row],
        counts["visual"][row],
        batch["weight"],
    )


def removed_shares(
    before: PyTree[Float[ArrayLike, "videos classes"]],
    after: PyTree[Float[ArrayLike, "videos classes"]],
    weight: Float[ArrayLike, " videos"],
) -> PyTree[Float[Array, ""]]:
    """The share of a batch's labels that was removed from each modality, to log; of none, 0."""
    labels = jnp.maximum(weighted_mean(before["video"].sum(axis=1), weight), NO_LABELS)
    return {
        f"removed/{modality}": weighted_mean(
            (before[modality] != after[modality]).sum(axis=1).astype(jnp.float32), weight
        )
        / labels
        for modality in ("audio", "visual")
    }


def denoise(
    audio_prob: Float[ArrayLike, "videos classes"],
    visual_prob: Float[ArrayLike, "videos classes"],
    targets: PyTree[Float[ArrayLike, "videos classes"]],
    audio_counts: Int[ArrayLike, "classes positives"],
    visual_counts: Int[ArrayLike, "classes positives"],
    weight: Float[ArrayLike, " videos"],
) -> PyTree[Float[ArrayLike, "videos classes"]]:
    """Removes the labels from a batch's targets that are noise by the losses of both modalities.

    Only the positives of a class (target > 0.5, weight 1) are ranked. A visual label is removed
    if its audio loss is one of the k smallest and its visual loss one of the k largest. An audio
    label is removed if its visual loss is one of the k smallest and its audio loss one of the k
    largest. Of equal losses, the one earlier in the batch ranks first, in both orders. Both
    decisions use the targets before any removal.

    Args:
      audio_counts, visual_counts: k for each class and number of positives (removal_counts).
    """
    real = weight[:, None] > 0
    losses = {
        "audio": cross_entropy(audio_prob, targets["audio"]),
        "visual": cross_entropy(visual_prob, targets["visual"]),
    }

    def removed(modality, counts, small, large):
        positive = (targets[modality] > 0.5) & real
        total = positive.sum(axis=0)
        k = jnp.take_along_axis(counts, total[:, None], axis=1)[:, 0]
        smallest = _rank(losses[small], positive) < k
        largest = _rank(-losses[large], positive) < k
        return positive & smallest & largest

    visual = removed("visual", visual_counts, small="audio", large="visual")
    audio = removed("audio", audio_counts, small="visual", large="audio")
    return targets | {
        "audio": jnp.where(audio, 0.0, targets["audio"]),
        "visual": jnp.where(visual, 0.0, targets["visual"]),
    }


def _rank(
    loss: Float[Array, "videos classes"], positive: Bool[ArrayLike, "videos classes"]
) -> Int[Array, "videos classes"]:
    """Rank of each positive among the positives of its class, by loss; the others rank last."""
    order = jnp.argsort(jnp.where(positive, loss, jnp.inf), axis=0, stable=True)
    return jnp.argsort(order, axis=0)
