"""Features of a video's frames and sound, by the published encoders."""

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from avvp_jax.encoders.published import ENCODERS
from avvp_jax.media.workers import cores
from avvp_jax.nn.functional import Network, Variables


@functools.lru_cache(16)
def program_of(
    stream: str, dtype: str = "float32", precision: str = "highest"
) -> Callable[[Variables, Shaped[Array, "rows ..."]], Float[Array, "rows width"]]:
    """A compiled function of an encoder's variables and rows to their features, all at once.

    Another number of rows is another program. For the arguments see `features_of`.
    """
    return program_for(ENCODERS[stream].network(dtype, precision), "features")


@functools.lru_cache(16)
def program_for(network: Network, call: str) -> Callable[..., Float[Array, "rows ..."]]:
    """A compiled function of a network's variables and rows to what its method `call` returns."""
    return jax.jit(lambda variables, rows: getattr(network.module(variables), call)(rows))


def features_of(
    stream: str, variables: Variables, rows: Shaped[np.ndarray, "rows ..."], *arithmetic: str
) -> Float[Array, "rows width"]:
    """The features of a video's rows, each computed on its own; equal neighbours once.

    Args:
      stream: one of ENCODERS.
      variables: of its encoder, on the device that computes.
      rows: of resnet152 pictures [224, 224, 3] of bytes (RGB), of r2plus1d clips
        [8, 112, 112, 3] of bytes, of vggish log-mel spectrograms [96, 64] (log_mel.py).
      arithmetic: dtype and precision, as in nn/layers.py; float32 and highest if not given.

    Returns:
      float32, on the device; where that is no CPU it may still be computing.
    """
    return through(program_of(stream, *arithmetic), ENCODERS[stream].part, variables, rows)


def through(
    program: Callable[[Variables, Shaped[Array, "rows ..."]], Float[Array, "rows ..."]],
    part: int,
    variables: Variables,
    rows: Shaped[np.ndarray, "rows ..."],
) -> Float[Array, "rows ..."]:
    """What a program makes of rows, each computed on its own; equal neighbours once.

    Args:
      part: rows that a core of a CPU computes at a time.
    """
    kept, place = distinct(rows)
    on_cpu = jax.default_backend() == "cpu"
    part = part if on_cpu else _at_once(len(kept), len(rows))

    def encoded(start: int) -> Float[Array, "part ..."]:
        some = kept[start : start + part]
        some = np.pad(some, [(0, part - len(some)), *[(0, 0)] * (rows.ndim - 1)])
        found = program(variables, some)
        return found.block_until_ready() if on_cpu else found

    found = (_threads().map if on_cpu else map)(encoded, range(0, len(kept), part))
    return jnp.concatenate(list(found))[place]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """One for each of up to 16 cores, since a network alone leaves some of them idle at times."""
    return ThreadPoolExecutor(cores())


def distinct(
    rows: Shaped[np.ndarray, "rows ..."],
) -> tuple[Shaped[np.ndarray, "kept ..."], Int[np.ndarray, " rows"]]:
    """The rows that differ from the one before, and for each row which of them it equals.

    Videos of a low rate show a frame several times.
    """
    new = [not np.array_equal(*pair) for pair in itertools.pairwise(rows)]
    new = np.array([True, *new])
    return rows[new], np.cumsum(new) - 1


def _at_once(kept: int, rows: int) -> int:
    """Rows that an accelerator takes at once: all, in no more than four different numbers."""
    quarter = -(-rows // 4)
    return min(rows, -(-kept // quarter) * quarter)
