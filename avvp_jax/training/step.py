"""One training step of one seed as a pure function, and the batch that it reads."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from avvp_jax.nn.functional import Network, variables_of
from avvp_jax.training.optimizer import Rates, descend
from avvp_jax.training.state import BatchArrays, State, take_videos

# The loss, and further numbers to log.
LossAndParts = tuple[Float[Array, ""], PyTree[Float[Array, ""]]]
# (network, batch, key) -> LossAndParts.
Loss = Callable[..., LossAndParts]
# (state, batch, key, learning rates) -> the next state, and the numbers to log.
Step = Callable[[State, dict, PRNGKeyArray, Rates], tuple[State, dict[str, Float[Array, ""]]]]


@functools.lru_cache(64)
def make_step(network: Network, loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """Makes the training step, a pure function of (state, batch, key, rates).

    It returns the next state and the numbers to log: the loss, the gradient's norm, and what
    the loss itself reports. If the loss or the norm is not finite, the seed has diverged: its
    variables and optimizer state stay as they are, in this step and in all later ones.
    Equal arguments give the same function, so that programs that hold it are compiled once. The
    learning rates are an input, so that trainings at different rates share a program.
    """

    def step(
        state: State, batch: dict, key: PRNGKeyArray, rates: Rates
    ) -> tuple[State, dict[str, Array]]:
        def objective(params):
            module = network.module({"params": params, "stats": state.stats})
            total, reported = loss(module, batch, key)
            return total, (reported, variables_of(module)["stats"])

        gradient = jax.value_and_grad(objective, has_aux=True)
        (total, (reported, stats)), grads = gradient(state.params)
        logged = {"loss": total, "gradient_norm": optax.tree.norm(grads)}
        finite = jnp.isfinite(total) & jnp.isfinite(logged["gradient_norm"])
        running = state.stopped < 0

        def updated():
            direction, moments = optimizer.update(grads, state.optimizer, state.params)
            params = descend(state.params, direction, rates)
            return {"params": params, "stats": stats, "optimizer": moments}

        # A branch, because jnp.where would read both the old and the new arrays.
        kept = {"params": state.params, "stats": state.stats, "optimizer": state.optimizer}
        new = jax.lax.cond(running & finite, updated, lambda: kept)
        stopped = jnp.where(running & ~finite, batch["step"], state.stopped)
        return dataclasses.replace(state, **new, stopped=stopped), logged | reported

    return step


def take_batch(
    arrays: BatchArrays,
    rows: Int[ArrayLike, " batch"],
    step: Int[ArrayLike, ""],
    sharding: NamedSharding | None = None,
    *,
    step_of_epoch: Int[ArrayLike, ""] = 0,
) -> dict:
    """Takes the batch of some videos from the arrays of all.

    Args:
      arrays: of all training videos, Flat or not.
      rows: the videos of the batch; -1 is padding.
      step: number of the step in the whole training, from 0.
      sharding: of the batch's axis of videos.
      step_of_epoch: number of the step in its epoch, from 0.

    Returns:
      The rows of every array of `arrays.videos` (targets, features, lengths); `arrays.shared`;
      `weight` [batch], which is 1 for a video and 0 for padding; `step` and `step_of_epoch`.
    """
    batch = take_videos(arrays.videos, jnp.maximum(rows, 0))
    batch["weight"] = (rows >= 0).astype(jnp.float32)
    if sharding is not None:
        batch = jax.lax.with_sharding_constraint(batch, sharding)
    return batch | arrays.shared | {"step": step, "step_of_epoch": step_of_epoch}
