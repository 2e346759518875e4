"""Random keys, derived from (seed, purpose, epoch, step) and never from how often one was drawn.

A resumed run therefore repeats an uninterrupted one to the bit.
"""

import jax
from jaxtyping import Array, Int, PRNGKeyArray

_INIT, _SHUFFLE, _DROPOUT = range(3)


GENERATORS = ("threefry2x32", "rbg")


def root_key(seed: int, generator: str = "threefry2x32") -> PRNGKeyArray:
    """The key of a run.

    Threefry's bits depend on neither vmap nor sharding, so that many seeds are single runs. The
    hardware's generator ("rbg") is faster and gives other bits under both.
    """
    return jax.random.key(seed, impl=generator)


def init_key(root: PRNGKeyArray) -> PRNGKeyArray:
    """The key that initial weights are drawn with."""
    return jax.random.fold_in(root, _INIT)


def shuffle_key(root: PRNGKeyArray, epoch: Int[Array, ""]) -> PRNGKeyArray:
    """The key of an epoch's order; Threefry's, so that nothing moves a video to another batch."""
    key = jax.random.fold_in(jax.random.fold_in(root, _SHUFFLE), epoch)
    return jax.random.wrap_key_data(jax.random.key_data(key)[:2], impl="threefry2x32")


def dropout_key(root: PRNGKeyArray, epoch: Int[Array, ""], step: Int[Array, ""]) -> PRNGKeyArray:
    """The key of one training step's dropout."""
    key = jax.random.fold_in(jax.random.fold_in(root, _DROPOUT), epoch)
    return jax.random.fold_in(key, step)
