"""MA's modality-aware labels: which labels of a video are not in its sound, or not in its frames.

Wu and Yang, "Exploring Heterogeneous Clues for Weakly-Supervised Audio-Visual
Video Parsing", CVPR 2021, section 3.3. A video's sound is put under the frames
of a video that shares no label with it: what the parser then still finds in the
kept modality is really there.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from avvp_jax.data.features import SplitFeatures
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.nn.parser import Features
from avvp_jax.runtime.mesh import by_video, everywhere, place, whole_batch

Probs = Float[Array, "videos classes"]


def errors(prob: Probs, label: Probs) -> Int[Array, " classes"]:
    """Per class, the number of videos for which (prob > 0.5) is not the weak label."""
    return ((prob > 0.5) != (label > 0.5)).sum(axis=0)


def thresholds(
    error: Int[Array, " classes"] | Float[Array, " classes"],
) -> Float[Array, " classes"]:
    """Each class's errors (a count or a share) divided by the most errors of any class.

    This is the published (1 - accuracy) / max(1 - accuracy), from counts because a
    rounded accuracy can miss 1. A class without errors has threshold 0, and if no
    class has any all are NaN: either removes nothing.
    """
    return error / error.max()


def removed_from(
    own_prob: Probs, other_prob: Probs, threshold: Float[Array, " classes"], label: Probs
) -> Bool[Array, "videos classes"]:
    """Labels that neither modality's probability supports, both divided by the threshold.

    `own_prob` is the modality whose label may go, kept from the video itself;
    `other_prob` the other one, taken from the partner. Both are divided by the
    threshold of the video's own modality, as in the published program.
    """
    unsupported = (own_prob / threshold < 0.5) & (other_prob / threshold < 0.5)
    return unsupported & (threshold > 0) & (label > 0)


def draw_partner(
    key: PRNGKeyArray, own: Float[Array, " classes"], labels: Float[Array, "videos classes"]
) -> Int[Array, ""]:
    """A random video, all alike, of those that share no label with `own`; -1 if none does."""
    strangers = labels @ own == 0
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
) -> RemovedLabels:
    """Audio and visual labels to remove, in one pass over all videos with three views of each.

    A video without a possible partner keeps its labels. Devices share out every batch.
    """
    videos, whole, batch = len(label), everywhere(mesh), by_video(mesh)
    batch_size = whole_batch(min(batch_size, videos), mesh)
    see = jax.jit(partial(views, network), in_shardings=(whole, batch, batch), out_shardings=whole)
    parts = []
    for start in range(0, videos, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), videos - 1)
        partner = np.asarray(_partners(key, rows, label))
        pair = [features.take(each) for each in (rows, np.maximum(partner, 0))]
        parts.append(jax.device_get(see(variables, *place(pair, batch))) | {"partner": partner})
    found = jax.tree.map(lambda *each: np.concatenate(each)[:videos], *parts)
    return RemovedLabels(*(np.asarray(x) for x in _removed(found, label)))


@jax.jit
def _partners(key, rows, label) -> Int[Array, " rows"]:
    keys = jax.vmap(partial(jax.random.fold_in, key))(rows)
    return jax.vmap(draw_partner, (0, 0, None))(keys, label[rows], label)


def views(
    network: Network, variables: Variables, own: Features, stranger: Features
) -> dict[str, tuple[Probs, Probs]]:
    """audio_prob and visual_prob of videos as they are ("own"), and of each one's sound under a
    stranger's frames ("audio"), and the other way round ("visual")."""
    parser = network.module(variables)
    pairs = {"own": (own, own), "audio": (own, stranger), "visual": (stranger, own)}
    found = {}
    for kept, (sound, sight) in pairs.items():
        output = parser(sight | {"audio": sound["audio"]})
        found[kept] = output["audio_prob"], output["visual_prob"]
    return found


@jax.jit
def _removed(found: dict, label: Probs) -> tuple[Bool[Array, "videos classes"], ...]:
    paired = found["partner"][:, None] >= 0
    audio_threshold, visual_threshold = (thresholds(errors(p, label)) for p in found["own"])
    audio_prob, visual_prob = found["audio"]
    audio = removed_from(audio_prob, visual_prob, audio_threshold, label)
    audio_prob, visual_prob = found["visual"]
    visual = removed_from(visual_prob, audio_prob, visual_threshold, label)
    return audio & paired, visual & paired
