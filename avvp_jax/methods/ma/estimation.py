"""MA's label estimation: which labels of a video are absent from its audio, or from its frames.

Wu and Yang, "Exploring Heterogeneous Clues for Weakly-Supervised Audio-Visual Video Parsing",
CVPR 2021, section 3.3. One modality of a video is combined with the other modality of a video
that shares no label with it. A label that the parser then still finds is present in the first
modality.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from avvp_jax.data.features import SplitFeatures
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.nn.parser import Features
from avvp_jax.nn.time_mask import Lengths
from avvp_jax.runtime.mesh import by_video, everywhere, place, whole_batch

Probs = Float[ArrayLike, "videos classes"]


def errors(prob: Probs, label: Probs) -> Int[ArrayLike, " classes"]:
    """For each class, the number of videos for which (prob > 0.5) differs from the weak label."""
    return ((prob > 0.5) != (label > 0.5)).sum(axis=0)


def thresholds(
    error: Int[ArrayLike, " classes"] | Float[ArrayLike, " classes"],
) -> Float[ArrayLike, " classes"]:
    """Each class's errors (a count or a share), divided by the largest of any class.

    This is the published (1 - accuracy) / max(1 - accuracy), but computed from counts, because
    rounding can keep an accuracy from being exactly 1. A class without errors has threshold 0.
    If no class has errors, all thresholds are NaN. Neither value removes any label.
    """
    return error / error.max()


def removed_from(
    own_prob: Probs, other_prob: Probs, threshold: Float[ArrayLike, " classes"], label: Probs
) -> Bool[ArrayLike, "videos classes"]:
    """The labels to remove from one modality: those that neither probability supports.

    A probability supports a label if it is at least 0.5 after division by the threshold. As in
    the published program, both are divided by the threshold of the modality in question.

    Args:
      own_prob: of the modality in question, which is the video's own.
      other_prob: of the other modality, which is the partner's.
    """
    unsupported = (own_prob / threshold < 0.5) & (other_prob / threshold < 0.5)
    return unsupported & (threshold > 0) & (label > 0)


def draw_partner(
    key: PRNGKeyArray, own: Float[ArrayLike, " classes"], labels: Float[ArrayLike, "videos classes"]
) -> Int[Array, ""]:
    """Draws one of the videos that share no label with `own`, uniformly; -1 if there is none."""
    # Numbers of labels that both have; exact whatever the device.
    shared = jnp.matmul(labels, own, precision=jax.lax.Precision.HIGHEST)
    strangers = shared == 0
    chance = jnp.where(strangers, jax.random.uniform(key, strangers.shape), -1.0)
    return jnp.where(strangers.any(), jnp.argmax(chance), -1)


def estimate(
    network: Network,
    variables: Variables,
    features: SplitFeatures,
    label: Float[np.ndarray, "videos classes"],
    key: PRNGKeyArray,
    batch_size: int,
    mesh: Mesh,
    lengths: Int[np.ndarray, " videos"] | None = None,
) -> RemovedLabels:
    """The audio and visual labels to remove, from one pass over all videos.

    Each video is parsed three times: as it is, and with each modality replaced by a partner's.
    A video without a possible partner keeps its labels. Batches are sharded over the devices.
    A partner is as long as the video: one that is shorter is repeated, and a longer one cut.
    """
    videos, batch = len(label), by_video(mesh)
    batch_size = whole_batch(min(batch_size, videos), mesh)
    see, parts = compiled_views(network, mesh), []
    for start in range(0, videos, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), videos - 1)
        partner = np.asarray(_draw_partners(key, rows, label))
        own, stranger = (features.take(each) for each in (rows, np.maximum(partner, 0)))
        if lengths is not None:
            stranger = repeated(stranger, lengths[np.maximum(partner, 0)])
        short = None if lengths is None else lengths[rows].astype(np.int32)
        seen = jax.device_get(see(variables, *place((own, stranger, short), batch)))
        parts.append(seen | {"partner": partner})
    found = jax.tree.map(lambda *each: np.concatenate(each)[:videos], *parts)
    return RemovedLabels(*(np.asarray(x) for x in _labels_to_remove(found, label)))


def repeated(
    features: dict[str, Float[np.ndarray, "videos segments _"]], lengths: Int[np.ndarray, " videos"]
) -> dict[str, Float[np.ndarray, "videos segments _"]]:
    """Features of clips that begin again where they end, until all segments are filled."""
    video, length = np.arange(len(lengths))[:, None], lengths[:, None]
    return {role: x[video, np.arange(x.shape[1]) % length] for role, x in features.items()}


@jax.jit
def _draw_partners(key, rows, label) -> Int[Array, " rows"]:
    keys = jax.vmap(partial(jax.random.fold_in, key))(rows)
    return jax.vmap(draw_partner, (0, 0, None))(keys, label[rows], label)


@functools.lru_cache(64)
def compiled_views(network: Network, mesh: Mesh) -> Callable:
    """`views` with a network, on the devices."""
    whole, batch = everywhere(mesh), by_video(mesh)
    places = whole, batch, batch, batch
    return jax.jit(partial(views, network), in_shardings=places, out_shardings=whole)


def views(
    network: Network,
    variables: Variables,
    own: Features,
    stranger: Features,
    lengths: Lengths = None,
) -> dict[str, tuple[Probs, Probs]]:
    """audio_prob and visual_prob of three views of each video, by the name of the view.

    "own": the video as it is. "audio": its audio with the frames of a stranger, a video that
    shares no label with it. "visual": its frames with a stranger's audio. All are as long as the
    video.
    """
    parser = network.module(variables)
    pairs = {"own": (own, own), "audio": (own, stranger), "visual": (stranger, own)}
    found = {}
    for kept, (sound, sight) in pairs.items():
        output = parser(sight | {"audio": sound["audio"]}, lengths=lengths)
        found[kept] = output["audio_prob"], output["visual_prob"]
    return found


@jax.jit
def _labels_to_remove(found: dict, label: Probs) -> tuple[Bool[Array, "videos classes"], ...]:
    paired = found["partner"][:, None] >= 0
    audio_threshold, visual_threshold = (thresholds(errors(p, label)) for p in found["own"])
    audio_prob, visual_prob = found["audio"]
    audio = removed_from(audio_prob, visual_prob, audio_threshold, label)
    audio_prob, visual_prob = found["visual"]
    visual = removed_from(visual_prob, audio_prob, visual_threshold, label)
    return audio & paired, visual & paired
