"""Dropout, with the random bits of many places drawn in one call.

A generator's code is long, and a call for each place would repeat it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, UInt16, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of Threefry's rounds, in turn


class Dropout:
    """Dropout at several places, which take their masks from one draw in turn.

    Args:
      bits: random numbers, as many for a video as are dropped or kept in all places together;
        None is no dropout, as in evaluation.
    """

    def __init__(self, bits: UInt16[Array, "videos entries"] | None):
        self._bits, self._next = bits, 0

    @classmethod
    def drawn(cls, key: PRNGKeyArray | None, videos: int, entries: int) -> "Dropout":
        """Dropout at places that drop or keep so many numbers of a video; without a key, none."""
        return cls(random_halves(key, videos, entries) if key is not None and entries else None)

    def part(self, start: Int[ArrayLike, ""], entries: int) -> "Dropout":
        """Dropout at those places whose numbers begin at `start`."""
        if self._bits is None:
            return self
        return Dropout(jax.lax.dynamic_slice_in_dim(self._bits, start, entries, axis=1))

    def __call__(self, x: Float[Array, "videos ..."], rate: float) -> Float[Array, "videos ..."]:
        """Zeroes entries with probability `rate`, and scales the others by 1 / (1 - rate).

        The probability is rounded to a multiple of 2 ** -16 below 1. A rate of 0 takes no bits.
        """
        if not self.drops(rate):
            return x
        return jnp.where(self._kept(x.shape, rate), x / (1.0 - rate), jnp.zeros_like(x))

    def drops(self, rate: float) -> bool:
        """Whether a call with this rate drops anything."""
        return self._bits is not None and rate != 0.0

    def _kept(self, shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
        start, self._next = self._next, self._next + math.prod(shape[1:])
        bits = self._bits[:, start : self._next]
        return (bits >= min(round(rate * 2**16), 2**16 - 1)).reshape(shape)


NO_DROPOUT = Dropout(None)


def dropout(
    x: Float[Array, "videos ..."], rate: float, key: PRNGKeyArray | None
) -> Float[Array, "videos ..."]:
    """Dropout at one place, see Dropout."""
    return Dropout.drawn(key, len(x), math.prod(x.shape[1:]) if rate else 0)(x, rate)


def keys_of_parts(
    key: PRNGKeyArray | None, count: int
) -> Key[Array, " {count}"] | tuple[None, ...]:
    """`count` keys for the parts of a module; in evaluation, `count` times None."""
    return (None,) * count if key is None else jax.random.split(key, count)


def random_halves(
    key: PRNGKeyArray, videos: int, entries: int
) -> UInt16[Array, "videos {entries}"]:
    """Random 16-bit numbers. Those of a video do not depend on how many videos there are."""
    if jax.random.key_impl(key) == "threefry2x32":
        words = _threefry(key, videos, -(-entries // 4))
    else:
        words = [jax.random.bits(key, (videos, -(-entries // 2)), jnp.uint32)]
    halves = [x.astype(jnp.uint16) for word in words for x in (word & 0xFFFF, word >> 16)]
    return jnp.concatenate(halves, axis=1)[:, :entries]


def _threefry(
    key: PRNGKeyArray, videos: int, blocks: int
) -> tuple[UInt32[Array, "videos blocks"], UInt32[Array, "videos blocks"]]:
    """Threefry-2x32 of 20 rounds (Salmon et al. 2011) of the numbers of a video and of a block.

    jax.random draws from the same function, but uses one of its two words, and on a CPU repeats a
    loop over arrays larger than the caches, where this is one pass.
    """
    first, second = jax.random.key_data(key)
    schedule = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    shape = (videos, blocks)
    x = jax.lax.broadcasted_iota(jnp.uint32, shape, 0) + schedule[0]
    y = jax.lax.broadcasted_iota(jnp.uint32, shape, 1) + schedule[1]
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            x = x + y
            y = ((y << turn) | (y >> (32 - turn))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y
