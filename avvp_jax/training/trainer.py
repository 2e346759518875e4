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
it: many seeds are `vmap` of one, and many devices are where its arrays lie (see mesh.py).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from avvp_jax.nn.functional import Network, Variables, variables_of
from avvp_jax.runtime.mesh import (
    by_seed,
    by_step,
    by_video,
    everywhere,
    host_device,
    in_turn,
    over_seeds,
    place,
    whole_batch,
)
from avvp_jax.training import keys
from avvp_jax.training.optimizer import Schedule, descend
from avvp_jax.training.selection import Best

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
    root: PRNGKeyArray,
    epoch: Int[Array, ""],
    videos: int,
    batch_size: int,
    shuffle: bool,
    rows: int = 0,
) -> Int[Array, "steps rows"]:
    """The videos of every batch of an epoch.

    -1 fills up the smaller last batch, and every batch to `rows` where devices share it.
    """
    order = jnp.arange(videos)
    if shuffle:
        order = jax.random.permutation(keys.shuffle_key(root, epoch), videos)
    order = jnp.pad(order, (0, -videos % batch_size), constant_values=-1)
    order = order.reshape(-1, batch_size)
    return jnp.pad(order, ((0, 0), (0, max(rows - batch_size, 0))), constant_values=-1)


def take_batch(
    arrays: dict,
    rows: Int[Array, " batch"],
    step: Int[Array, ""],
    sharding: NamedSharding | None = None,
) -> dict:
    """A batch of `arrays`, which holds "videos" and "shared".

    It has the rows of every array of "videos" (features, targets), all of "shared",
    `weight` [batch], which is 1, or 0 where a row is -1 (padding), and `step`, the
    number of the step in the whole training, from 0. `sharding` says where its videos lie.
    """
    batch = jax.tree.map(lambda x: jnp.take(x, jnp.maximum(rows, 0), axis=0), arrays["videos"])
    batch["weight"] = (rows >= 0).astype(jnp.float32)
    if sharding is not None:
        batch = jax.lax.with_sharding_constraint(batch, sharding)
    return batch | arrays["shared"] | {"step": step}


def merged(arrays: dict, own: dict) -> dict:
    """Arrays that all seeds share and one seed's own, both of "videos" and "shared"."""
    return {name: arrays[name] | own.get(name, {}) for name in ("videos", "shared")}


class Trainer:
    """Compiled training of one network, for several seeds at once, on the devices of a mesh.

    Attributes:
      roots: the seeds' keys, on the mesh.
      steps: of an epoch.

    Args:
      network, loss, optimizer, schedule: what is trained, and how.
      mesh: of which devices, see mesh.py. Beyond rounding, results do not depend on it.
      roots: the seeds' keys, the same in every process.
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
        mesh: Mesh,
        roots: Key[Array, " seeds"],
        videos: int,
        batch_size: int,
        shuffle: bool,
        steps_per_call: int,
    ):
        self.steps = -(-videos // batch_size)
        # Calls of seeds in turn should not last longer: a signal waits for their end.
        self.steps_per_call = max(1, steps_per_call // (len(roots) if in_turn(mesh) else 1))
        self._step = make_step(network, loss, optimizer, schedule)
        self._mesh = mesh
        self._logged = None  # shapes of what a step logs, found once because tracing takes a while
        order = partial(
            epoch_order,
            videos=videos,
            batch_size=batch_size,
            shuffle=shuffle,
            rows=whole_batch(batch_size, mesh),
        )
        seeds, batches, whole = by_seed(mesh), by_step(mesh), everywhere(mesh)
        self._own_roots, self._own_order = roots, jax.jit(jax.vmap(order))
        wrap = partial(jax.random.wrap_key_data, impl=jax.random.key_impl(roots))
        data = place(jax.random.key_data(roots), seeds)
        self.roots = jax.jit(wrap, out_shardings=seeds)(data)
        self.order = jax.jit(jax.vmap(order), in_shardings=seeds, out_shardings=batches)
        self._run_steps = jax.jit(
            self._steps,
            in_shardings=(seeds, seeds, whole, seeds, batches, batches, seeds, whole, whole),
            out_shardings=seeds,
            donate_argnums=(0, 1),
        )
        self._finish = jax.jit(self._end, in_shardings=seeds, out_shardings=(seeds, whole))

    def run_epoch(
        self,
        state: State,
        arrays: dict,
        own: dict,
        first: int = 0,
        asked_to_stop: Callable[[], bool] = lambda: False,
        feed: Callable[[int, int], dict] | None = None,
    ) -> tuple[State, dict[str, Array] | None]:
        """Trains an epoch, or the rest of one; `state` is consumed.

        Args:
          state: of all seeds; without `sums` at the start of an epoch.
          arrays: "videos" and "shared" for all seeds, see take_batch.
          own: each seed's own, likewise, with a leading axis of seeds.
          first: how many steps of the epoch are done, `step` in the state.
          asked_to_stop: is asked between compiled calls whether to stop there.
          feed: gives the features of some steps, [seeds, steps, rows, segments, width],
            where `arrays` have none; see feed.py.

        Returns:
          The state with one more finished epoch, and for each seed the means over
          steps of what a step logs; or where it was asked to stop the state in the
          middle of the epoch, and None.
        """
        order = self.order(self.roots, state["epoch"] + 1)
        sums, before = state.get("sums") or self.sums(state, arrays, own), None
        state = {name: leaf for name, leaf in state.items() if name != "sums"}
        for start in range(first, self.steps, self.steps_per_call):
            if start > first and asked_to_stop():
                step = np.full(state["step"].shape, start, np.int32)
                step = place(step, by_seed(self._mesh))
                return state | {"step": step, "sums": sums}, None
            stop = min(start + self.steps_per_call, self.steps)
            block = feed(start, stop) if feed else {}
            state, sums = self._run_steps(
                state, sums, arrays, own, block, order, self.roots, start, stop
            )
            # One call may wait behind the one that runs: more would have to end before a stop.
            jax.block_until_ready(before)
            before = jnp.copy(sums["loss"])
        end, means = self._finish({"epoch": state["epoch"], "step": state["step"], "sums": sums})
        return state | end, means

    def batch_rows(self, seed: int, epoch: int, step: int) -> list[int]:
        """The videos of a batch of the seed with an index; epochs count from 1, steps from 0."""
        return [row for row in self.epoch_rows(epoch)[seed, step].tolist() if row >= 0]

    def epoch_rows(self, epoch: int) -> Int[np.ndarray, "seeds steps rows"]:
        """The videos of every batch of an epoch, found by this process alone."""
        with jax.default_device(host_device()):
            epochs = np.full(len(self._own_roots), epoch, np.int32)
            return np.asarray(self._own_order(self._own_roots, epochs))

    def sums(
        self, state: State, arrays: dict, own: dict, block: dict | None = None
    ) -> dict[str, Array]:
        """What the state of an epoch's start has as `sums`: zeros.

        Of all arguments shapes are enough; `block` is what a feed gives.
        """
        if self._logged is None:
            order = jax.eval_shape(self.order, self.roots, state["epoch"])
            step = partial(self._one_step, arrays, 0, 0)
            each = (state, own, block or {}, order, self.roots)
            _, self._logged = jax.eval_shape(partial(over_seeds, self._mesh, step), *each)
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in self._logged.items()}
        return place(zeros, by_seed(self._mesh))

    def _one_step(self, arrays, start, index, state, own, block, order, root):
        key = keys.dropout_key(root, state["epoch"] + 1, index)
        step = state["epoch"] * self.steps + index
        batch = take_batch(merged(arrays, own), order[index], step, by_video(self._mesh))
        if block:
            batch["features"] = jax.tree.map(lambda x: x[index - start], block)
        return self._step(state, batch, key)

    def _steps(self, state, sums, arrays, own, block, order, roots, start, stop):
        # Bounds are traced, so one program serves calls of every length.
        def one_seed(state, sums, own, block, order, root):
            def body(index, carry):
                state, sums = carry
                step = partial(self._one_step, arrays, start, index)
                state, logged = step(state, own, block, order, root)
                return state, jax.tree.map(jnp.add, sums, logged)

            return jax.lax.fori_loop(start, stop, body, (state, sums))

        return over_seeds(self._mesh, one_seed, state, sums, own, block, order, roots)

    def _end(self, state: State) -> tuple[State, dict[str, Array]]:
        """What changes in the state at the end of an epoch, and the means of what was logged."""
        means = {name: value / self.steps for name, value in state["sums"].items()}
        zeros = jax.tree.map(jnp.zeros_like, {name: state[name] for name in ("step", "sums")})
        return {"epoch": state["epoch"] + 1, **zeros}, means
