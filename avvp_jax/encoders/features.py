"""Features of a video's frames and sound, by the published encoders."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Shaped

from avvp_jax.encoders.convolutions import in_parts
from avvp_jax.encoders.published import ENCODERS
from avvp_jax.nn.functional import Variables


@functools.lru_cache(16)
def features_of(
    stream: str, dtype: str = "float32", precision: str = "highest"
) -> Callable[[Variables, Shaped[Array, "rows ..."]], Float[Array, "rows width"]]:
    """A compiled function of an encoder's variables and the rows of a video to their features.

    Rows are of resnet152 pictures [224, 224, 3] of bytes (RGB), of r2plus1d clips
    [8, 112, 112, 3] of bytes, of vggish log-mel spectrograms [96, 64] (log_mel.py). Features are
    float32. Another number of rows is another program.

    Args:
      stream: one of ENCODERS.
      dtype, precision: as in nn/layers.py.
    """
    encoder = ENCODERS[stream]
    network = encoder.network(dtype, precision)

    def features(variables: Variables, rows: Array) -> Array:
        part = encoder.part if jax.default_backend() == "cpu" else None
        return in_parts(network.module(variables).features, rows, part)

    return jax.jit(features)
