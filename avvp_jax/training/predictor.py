"""Compiled prediction: from variables and features to probabilities, in batches."""

import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PyTree

from avvp_jax.data.features import SplitFeatures
from avvp_jax.metrics.events import Decision, predicted_segments
from avvp_jax.metrics.video_scores import whole_probabilities
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.nn.parser import Features
from avvp_jax.nn.pooling import PROBABILITIES
from avvp_jax.nn.time_mask import Lengths
from avvp_jax.runtime.mesh import by_seed, by_video, everywhere, over_seeds, whole_batch
from avvp_jax.training.state import Flat, flat, take_videos

# The least size of a padded batch, so that few programs are compiled for small numbers of videos.
FEWEST = 32


def probabilities(
    network: Network,
    variables: Variables,
    features: PyTree,
    batch_size: int,
    mesh: Mesh,
    lengths: Lengths = None,
) -> PyTree[Float[Array, "videos ..."]]:
    """Probabilities of all videos in evaluation mode, `batch_size` videos at a time.

    A pure function. Each batch is sharded over the mesh's axis "batch".

    Args:
      features: of all videos by role, Flat or not.
      lengths: how many segments of each video are there.

    Returns:
      frame_prob [videos, segments, 2, classes]; global_prob (where the network has it),
      audio_prob, visual_prob [videos, classes].
    """
    parser = network.module(variables)
    videos = len(features["audio"])
    batch_size = whole_batch(min(batch_size, videos), mesh)
    # The last batch is padded with the last video; the padding is cut off below.
    rows = jnp.minimum(jnp.arange(-(-videos // batch_size) * batch_size), videos - 1)

    def one_batch(batch_rows):
        batch = take_videos((features, lengths), batch_rows)
        batch, own = jax.lax.with_sharding_constraint(batch, by_video(mesh))
        output = parser(batch, lengths=own)
        return {name: output[name] for name in PROBABILITIES if name in output}

    batches = jax.lax.map(one_batch, rows.reshape(-1, batch_size))
    return {name: x.reshape(-1, *x.shape[2:])[:videos] for name, x in batches.items()}


class Predictor:
    """Compiled prediction with one network, on the devices of a mesh."""

    def __init__(self, network: Network, decision: Decision, batch_size: int, mesh: Mesh):
        self._probabilities, self._segments, self._judged = compiled_prediction(
            network, decision, batch_size, mesh
        )
        self._batch_size = batch_size

    def segments(
        self, variables: Variables, features: dict[str, Flat], lengths: Lengths = None
    ) -> Bool[Array, "seeds videos segments 2 classes"]:
        """The segments that several seeds' models predict, on the devices."""
        return self._segments(variables, features, lengths)

    def judged(
        self, variables: Variables, features: dict[str, Flat], lengths: Lengths = None
    ) -> tuple[
        Bool[Array, "seeds videos segments 2 classes"], Float[Array, "seeds videos 3 classes"]
    ]:
        """Those segments, and the probabilities of whole videos (see whole_probabilities)."""
        return self._judged(variables, features, lengths)

    def predict(
        self, variables: Variables, features: SplitFeatures, lengths: Lengths = None
    ) -> dict[str, np.ndarray]:
        """Probabilities of all videos of a split, on the host, float32.

        Videos are padded to whole batches, so that few programs are compiled.
        """
        found = [
            self._predict_part(variables, *part) for part in with_lengths(features.parts(), lengths)
        ]
        return jax.tree.map(lambda *each: np.concatenate(each), *found)

    def _predict_part(
        self, variables: Variables, features: Features, lengths: Lengths
    ) -> dict[str, np.ndarray]:
        videos = len(features["audio"])
        surplus = -videos % min(self._batch_size, max(videos, FEWEST))
        padded = {name: _padded(x, surplus) for name, x in features.items()}
        if lengths is not None:
            lengths = np.pad(np.asarray(lengths, np.int32), (0, surplus), constant_values=1)
        probs = jax.device_get(self._probabilities(variables, flat(padded), lengths))
        return {name: x[:videos] for name, x in probs.items()}


def _padded(x: Float[np.ndarray, "videos ..."], surplus: int) -> Float[np.ndarray, "padded ..."]:
    return np.pad(x, [(0, surplus), *[(0, 0)] * (x.ndim - 1)])


def with_lengths(parts: Iterable[PyTree], lengths: Lengths) -> Iterator[tuple[PyTree, Lengths]]:
    """Parts of a split's features, Flat or not, each with the lengths of its videos."""
    stop = 0
    for part in parts:
        start, stop = stop, stop + len(part["audio"])
        yield part, None if lengths is None else lengths[start:stop]


@functools.lru_cache(64)
def compiled_prediction(
    network: Network, decision: Decision, batch_size: int, mesh: Mesh
) -> tuple[Callable, Callable, Callable]:
    """Compiled: probabilities with one seed's variables, and with several seeds' segments alone or
    segments and the probabilities of whole videos.
    """
    seeds, whole = by_seed(mesh), everywhere(mesh)

    def one_seed(variables, features, lengths=None):
        return probabilities(network, variables, features, batch_size, mesh, lengths)

    def segments(variables, features, lengths):
        def segments_of_one(variables):
            return predicted_segments(one_seed(variables, features, lengths), decision)

        return over_seeds(mesh, segments_of_one, variables)

    def judged(variables, features, lengths):
        def judged_by_one(variables):
            probs = one_seed(variables, features, lengths)
            return predicted_segments(probs, decision), whole_probabilities(probs)

        return over_seeds(mesh, judged_by_one, variables)

    return (
        jax.jit(one_seed, in_shardings=whole, out_shardings=whole),
        jax.jit(segments, in_shardings=(seeds, whole, whole), out_shardings=seeds),
        jax.jit(judged, in_shardings=(seeds, whole, whole), out_shardings=seeds),
    )
