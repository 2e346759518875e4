"""Training: one pure step, a compiled epoch over data that lives on the device, for many seeds.

The state of one seed is a plain tree, all of which a checkpoint holds:
  params, stats   the network's variables
  optimizer       the optimizer's state
  epoch           finished epochs, int32
  step            finished steps of the epoch after them, int32
  sums            over these steps, of what a step logs
  stopped         the step at which loss or gradient were not finite any more, from 0; -1 before
  best            the best model on val so far, see selection.py
The state of several seeds has a leading axis in every leaf. Nothing in a step knows of
it: many seeds are `vmap` of one.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from avvp_jax import keys
from avvp_jax.network import Network, Variables, variables_of
from avvp_jax.optimizer import Schedule, descend
from avvp_jax.selection import Best

State = dict
Loss = Callable[..., tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


def init_state(optimizer: optax.GradientTransformation, variables: Variables, best: Best) -> State:
    """The state before the first epoch, but for `sums`, whose names the trainer knows."""
    return {
        **variables,
        "optimizer": optimizer.init(variables["params"]),
        "epoch": jnp.int32(0),
        "step": jnp.int32(0),
        "stopped": jnp.int32(-1),
        "best": best,
    }


def make_step(
    network: Network, loss: Loss, optimizer: optax.GradientTransformation, schedule: Schedule
):
    """One optimizer step as a pure function of (state, batch, key).

    Its second result are scalars to log: the loss, the gradient's norm, and what the
    loss itself reports. From the step on at which one of the first two is not finite, the
    state stays as it is.
    """

    def step(state: State, batch: dict, key: PRNGKeyArray) -> tuple[State, dict[str, Array]]:
        def objective(params):
            module = network.module({"params": params, "stats": state["stats"]})
            total, reported = loss(module, batch, key)
            return total, (reported, variables_of(module)["stats"])

        gradient = jax.value_and_grad(objective, has_aux=True)
        (total, (reported, stats)), grads = gradient(state["params"])
        logged = {"loss": total, "gradient_norm": optax.tree.norm(grads)}
        finite = jnp.isfinite(total) & jnp.isfinite(logged["gradient_norm"])
        running = state["stopped"] < 0

        def updated():
            direction, moments = optimizer.update(grads, state["optimizer"], state["params"])
            params = descend(state["params"], direction, schedule(state["epoch"] + 1))
            return {"params": params, "stats": stats, "optimizer": moments}

        # A branch instead of choosing between old and new numbers: it reads each of them once.
        kept = {name: state[name] for name in ("params", "stats", "optimizer")}
        new = jax.lax.cond(running & finite, updated, lambda: kept)
        new["stopped"] = jnp.where(running & ~finite, batch["step"], state["stopped"])
        return state | new, logged | reported

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


def merged(arrays: dict, own: dict) -> dict:
    """Arrays that all seeds share and one seed's own, both of "videos" and "shared"."""
    return {name: arrays[name] | own.get(name, {}) for name in ("videos", "shared")}


def in_turn() -> bool:
    """Whether seeds train one after the other within a compiled call: on a lone CPU device.

    There products are large enough as they are, and one seed's weights stay in the caches.
    """
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def over_seeds(function: Callable, *own):
    """`function` of every seed, whose arguments have a leading axis of seeds."""
    if in_turn():
        return jax.lax.map(lambda each: function(*each), own)
    return jax.vmap(function)(*own)


class Trainer:
    """Compiled training of one network, for several seeds at once, on arrays on the device.

    Args:
      network, loss, optimizer, schedule: what is trained, and how.
      roots: the seeds' keys.
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
        roots: Key[Array, " seeds"],
        videos: int,
        batch_size: int,
        shuffle: bool,
        steps_per_call: int,
    ):
        self.steps = -(-videos // batch_size)
        self.steps_per_call = steps_per_call
        self._step = make_step(network, loss, optimizer, schedule)
        self._roots = roots
        self._logged = None  # shapes of what a step logs, found once because tracing takes a while
        order = partial(epoch_order, videos=videos, batch_size=batch_size, shuffle=shuffle)
        self.order = jax.jit(jax.vmap(order))

    def run_epoch(
        self,
        state: State,
        arrays: dict,
        own: dict,
        first: int = 0,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[State, dict[str, Array] | None]:
        """Trains an epoch, or the rest of one; `state` is consumed.

        Args:
          state: of all seeds; without `sums` at the start of an epoch.
          arrays: "videos" and "shared" for all seeds, see take_batch.
          own: each seed's own, likewise, with a leading axis of seeds.
          first: how many steps of the epoch are done, `step` in the state.
          asked_to_stop: is asked between compiled calls whether to stop there.

        Returns:
          The state with one more finished epoch, and for each seed the means over
          steps of what a step logs; or where it was asked to stop the state in the
          middle of the epoch, and None.
        """
        order = self.order(self._roots, state["epoch"] + 1)
        sums, before = state.get("sums") or self.sums(state, arrays, own), None
        state = {name: leaf for name, leaf in state.items() if name != "sums"}
        for start in range(first, self.steps, self.steps_per_call):
            if start > first and asked_to_stop():
                step = jnp.full_like(state["step"], start)
                return state | {"step": step, "sums": sums}, None
            stop = min(start + self.steps_per_call, self.steps)
            state, sums = self._run_steps(state, sums, arrays, own, order, self._roots, start, stop)
            # One call may wait behind the one that runs: more would have to end before a stop.
            jax.block_until_ready(before)
            before = jnp.copy(sums["loss"])
        means = {name: value / self.steps for name, value in sums.items()}
        step, sums = jax.tree.map(jnp.zeros_like, (state["step"], sums))
        return state | {"epoch": state["epoch"] + 1, "step": step, "sums": sums}, means

    def batch_rows(self, seed: int, epoch: int, step: int) -> list[int]:
        """The videos of a batch of the seed with an index; epochs count from 1, steps from 0."""
        epochs = jnp.full(len(self._roots), epoch, jnp.int32)
        rows = self.order(self._roots, epochs)[seed, step].tolist()
        return [row for row in rows if row >= 0]

    def sums(self, state: State, arrays: dict, own: dict) -> dict[str, Array]:
        """What the state of an epoch's start has as `sums`: zeros."""
        if self._logged is None:
            step = partial(self._one_step, arrays, 0)
            order = jax.eval_shape(self.order, self._roots, state["epoch"])
            each = (state, own, order, self._roots)
            _, self._logged = jax.eval_shape(partial(over_seeds, step), *each)
        return {name: jnp.zeros(x.shape, x.dtype) for name, x in self._logged.items()}

    def _one_step(self, arrays, index, state, own, order, root):
        key = keys.dropout_key(root, state["epoch"] + 1, index)
        step = state["epoch"] * self.steps + index
        batch = take_batch(merged(arrays, own), order[index], step)
        return self._step(state, batch, key)

    @partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
    def _run_steps(self, state, sums, arrays, own, order, roots, start, stop):
        # Bounds are traced, so one program serves calls of every length.
        def one_seed(state, sums, own, order, root):
            def body(index, carry):
                state, sums = carry
                state, logged = self._one_step(arrays, index, state, own, order, root)
                return state, jax.tree.map(jnp.add, sums, logged)

            return jax.lax.fori_loop(start, stop, body, (state, sums))

        return over_seeds(one_seed, state, sums, own, order, roots)
