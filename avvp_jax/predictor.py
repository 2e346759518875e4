"""From variables and features to probabilities and scores, compiled, in bounded batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avvp_jax.events import predicted_segments
from avvp_jax.network import Network, Variables
from avvp_jax.parser import PROBABILITIES, Features
from avvp_jax.scores import device_scores

# A single video is filled up to this many, so that few programs serve small numbers.
FEWEST = 32


def probabilities(
    network: Network, variables: Variables, features: Features, batch_size: int
) -> dict[str, Float[Array, "videos ..."]]:
    """Evaluation-mode probabilities of all videos, `batch_size` at a time; pure.

    Returns:
      frame_prob [videos, segments, 2, classes]; global_prob (where the network has it),
      audio_prob, visual_prob [videos, classes].
    """
    parser = network.module(variables)
    videos = len(features["audio"])
    batch_size = min(batch_size, videos)
    # The last batch repeats the last video, and the surplus is cut off below.
    rows = jnp.minimum(jnp.arange(-(-videos // batch_size) * batch_size), videos - 1)

    def one_batch(batch_rows):
        batch = jax.tree.map(lambda x: jnp.take(x, batch_rows, axis=0), features)
        output = parser(batch)
        return {name: output[name] for name in PROBABILITIES if name in output}

    batches = jax.lax.map(one_batch, rows.reshape(-1, batch_size))
    return {name: x.reshape(-1, *x.shape[2:])[:videos] for name, x in batches.items()}


class Predictor:
    """Compiled prediction and validation with one network."""

    def __init__(self, network: Network, video_filter: str, batch_size: int):
        self._probabilities = jax.jit(partial(probabilities, network, batch_size=batch_size))

        def validate(variables, features, truth):
            probs = probabilities(network, variables, features, batch_size)
            return device_scores(predicted_segments(probs, video_filter), truth)

        self.validate = jax.jit(validate)
        self._batch_size = batch_size

    def predict(self, variables: Variables, features: Features) -> dict[str, np.ndarray]:
        """Probabilities on the host, float32.

        Few programs serve any number of videos: they are filled up to whole batches.
        """
        videos = len(features["audio"])
        surplus = -videos % min(self._batch_size, max(videos, FEWEST))
        padded = {name: np.pad(x, ((0, surplus), (0, 0), (0, 0))) for name, x in features.items()}
        probs = jax.device_get(self._probabilities(variables, padded))
        return {name: x[:videos] for name, x in probs.items()}
