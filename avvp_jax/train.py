"""Training: one pure step, a compiled epoch over data that lives on the device, selection on val.

The state is a plain tree, all of which a checkpoint holds:
  params, stats   the network's variables
  optimizer       the optimizer's state
  epoch           finished epochs, int32
  best            the best model on val so far, see selection.py
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from avvp_jax import keys
from avvp_jax.network import Network, Variables, variables_of
from avvp_jax.optimizer import Schedule, descend
from avvp_jax.selection import Best

State = dict
Loss = Callable[..., tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


def init_state(optimizer: optax.GradientTransformation, variables: Variables, best: Best) -> State:
    """The state before the first epoch."""
    state = {
        **variables,
        "optimizer": optimizer.init(variables["params"]),
        "epoch": jnp.int32(0),
        "best": best,
    }
    # Copied, since layers may start as one array, and the compiled epoch takes over every buffer.
    return jax.tree.map(jnp.copy, state)


def make_step(
    network: Network, loss: Loss, optimizer: optax.GradientTransformation, schedule: Schedule
):
    """One optimizer step as a pure function of (state, batch, key).

    Its second result are scalars to log: the loss, the gradient's norm, and what the
    loss itself reports.
    """

    def step(state: State, batch: dict, key: PRNGKeyArray) -> tuple[State, dict[str, Array]]:
        def objective(params):
            module = network.module({"params": params, "stats": state["stats"]})
            total, reported = loss(module, batch, key)
            return total, (reported, variables_of(module)["stats"])

        gradient = jax.value_and_grad(objective, has_aux=True)
        (total, (reported, stats)), grads = gradient(state["params"])
        direction, moments = optimizer.update(grads, state["optimizer"], state["params"])
        rate = schedule(state["epoch"] + 1)
        params = descend(state["params"], direction, rate)
        logged = {"loss": total, "gradient_norm": optax.tree.norm(grads)}
        return state | {"params": params, "stats": stats, "optimizer": moments}, logged | reported

    return step


def epoch_order(
    root: PRNGKeyArray, epoch: Int[Array, ""], videos: int, batch_size: int, shuffle: bool
) -> Int[Array, "steps batch"]:
    """The videos of every batch of an epoch; -1 fills up the smaller last batch."""
    order = jnp.arange(videos)
    if shuffle:
        order = jax.random.permutation(keys.shuffle_key(root, epoch), videos)
    order = jnp.pad(order, (0, -videos % batch_size), constant_values=-1)
    return order.reshape(-1, batch_size)


def take_batch(arrays: dict, rows: Int[Array, " batch"], step: Int[Array, ""]) -> dict:
    """A batch of `arrays`, which holds "videos" and "shared".

    It has the rows of every array of "videos" (features, targets), all of "shared",
    `weight` [batch], which is 1, or 0 where a row is -1 (padding), and `step`, the
    number of the step in the whole training, from 0.
    """
    batch = jax.tree.map(lambda x: jnp.take(x, jnp.maximum(rows, 0), axis=0), arrays["videos"])
    weight = (rows >= 0).astype(jnp.float32)
    return batch | arrays["shared"] | {"weight": weight, "step": step}


class Trainer:
    """Compiled training of one network on arrays that live on the device.

    Args:
      network, loss, optimizer, schedule: what is trained, and how.
      root: the run's key.
      videos, batch_size: of the training data; the smaller last batch is kept.
      shuffle: a new order every epoch, else the order of the data.
      steps_per_call: steps in one compiled call. Results do not depend on it.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        schedule: Schedule,
        *,
        root: PRNGKeyArray,
        videos: int,
        batch_size: int,
        shuffle: bool,
        steps_per_call: int,
    ):
        self.steps = -(-videos // batch_size)
        self.steps_per_call = steps_per_call
        self._step = make_step(network, loss, optimizer, schedule)
        self._root = root
        self._logged = None  # shapes of what a step logs, found once because tracing takes a while
        self._order = jax.jit(
            partial(epoch_order, videos=videos, batch_size=batch_size, shuffle=shuffle)
        )

    def run_epoch(self, state: State, arrays: dict) -> tuple[State, dict[str, Array]]:
        """Trains one epoch; `state` is consumed.

        Returns:
          The state with one more finished epoch, and the means over steps of what
          a step logs.
        """
        order = self._order(self._root, state["epoch"] + 1)
        sums = self._zeros(state, arrays, order)
        for start in range(0, self.steps, self.steps_per_call):
            stop = min(start + self.steps_per_call, self.steps)
            state, sums = self._run_steps(state, sums, arrays, order, self._root, start, stop)
        state["epoch"] = state["epoch"] + 1
        return state, {name: value / self.steps for name, value in sums.items()}

    def _zeros(self, state, arrays, order) -> dict[str, Array]:
        def first_step(state, arrays, order):
            return self._step(state, take_batch(arrays, order[0], 0), self._root)[1]

        if self._logged is None:
            self._logged = jax.eval_shape(first_step, state, arrays, order)
        return {name: jnp.zeros(x.shape, x.dtype) for name, x in self._logged.items()}

    @partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
    def _run_steps(self, state, sums, arrays, order, root, start, stop):
        # Bounds are traced, so one program serves calls of every length.
        def body(index, carry):
            state, sums = carry
            key = keys.dropout_key(root, state["epoch"] + 1, index)
            step = state["epoch"] * self.steps + index
            state, logged = self._step(state, take_batch(arrays, order[index], step), key)
            return state, jax.tree.map(jnp.add, sums, logged)

        return jax.lax.fori_loop(start, stop, body, (state, sums))
