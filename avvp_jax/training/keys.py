"""Random keys. Each depends on (seed, purpose, epoch, step) only, not on earlier draws.

A resumed run therefore gives the same bits as an uninterrupted one.
"""

import jax
from jax.typing import ArrayLike
from jaxtyping import Int, PRNGKeyArray

_INIT, _SHUFFLE, _DROPOUT = range(3)


GENERATORS = ("threefry2x32", "rbg")


def root_key(seed: int, generator: str = "threefry2x32") -> PRNGKeyArray:
    """The key of a seed, from which all its other keys derive.

    Threefry's bits depend neither on vmap nor on sharding, so a seed that trains together with
    others gives the same results as alone. The hardware's generator ("rbg") is faster, but its
    bits depend on both.
    """
    return jax.random.key(seed, impl=generator)


def init_key(root: PRNGKeyArray) -> PRNGKeyArray:
    """The key for drawing initial weights."""
    return jax.random.fold_in(root, _INIT)


def shuffle_key(root: PRNGKeyArray, epoch: Int[ArrayLike, ""]) -> PRNGKeyArray:
    """The key for shuffling an epoch, always Threefry's: batches must not depend on sharding."""
    key = jax.random.fold_in(jax.random.fold_in(root, _SHUFFLE), epoch)
    return jax.random.wrap_key_data(jax.random.key_data(key)[:2], impl="threefry2x32")


def dropout_key(
    root: PRNGKeyArray, epoch: Int[ArrayLike, ""], step: Int[ArrayLike, ""]
) -> PRNGKeyArray:
    """The key for dropout in one training step."""
    key = jax.random.fold_in(jax.random.fold_in(root, _DROPOUT), epoch)
    return jax.random.fold_in(key, step)
