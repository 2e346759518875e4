"""One optimizer step of one seed as a pure function, and the batch that it sees."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int, PRNGKeyArray

from avvp_jax.nn.functional import Network, variables_of
from avvp_jax.training.optimizer import Schedule, descend
from avvp_jax.training.state import BatchArrays, State

# Of (parser, batch, key): the loss, and what it reports beside.
Loss = Callable[..., tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]
# Of (state, batch, key): the next state, and what to log.
Step = Callable[[State, dict, PRNGKeyArray], tuple[State, dict[str, Float[Array, ""]]]]


def make_step(
    network: Network, loss: Loss, optimizer: optax.GradientTransformation, schedule: Schedule
) -> Step:
    """One optimizer step as a pure function of (state, batch, key).

    Its second result are scalars to log: the loss, the gradient's norm, and what the
    loss itself reports. From the step on at which one of the first two is not finite, the
    state stays as it is.
    """

    def step(state: State, batch: dict, key: PRNGKeyArray) -> tuple[State, dict[str, Array]]:
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
            params = descend(state.params, direction, schedule(state.epoch + 1))
            return {"params": params, "stats": stats, "optimizer": moments}

        # A branch instead of choosing between old and new numbers: it reads each of them once.
        kept = {"params": state.params, "stats": state.stats, "optimizer": state.optimizer}
        new = jax.lax.cond(running & finite, updated, lambda: kept)
        stopped = jnp.where(running & ~finite, batch["step"], state.stopped)
        return dataclasses.replace(state, **new, stopped=stopped), logged | reported

    return step


def take_batch(
    arrays: BatchArrays,
    rows: Int[Array, " batch"],
    step: Int[Array, ""],
    sharding: NamedSharding | None = None,
) -> dict:
    """The batch of some videos.

    It has the rows of every array of `arrays.videos` (targets, features), all of
    `arrays.shared`, `weight` [batch], which is 1, or 0 where a row is -1 (padding), and
    `step`, the number of the step in the whole training, from 0. `sharding` says where its
    videos lie.
    """
    batch = jax.tree.map(lambda x: jnp.take(x, jnp.maximum(rows, 0), axis=0), arrays.videos)
    batch["weight"] = (rows >= 0).astype(jnp.float32)
    if sharding is not None:
        batch = jax.lax.with_sharding_constraint(batch, sharding)
    return batch | arrays.shared | {"step": step}
