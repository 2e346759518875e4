"""Compiled training by epochs, for several seeds at once, on the devices of a mesh."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from avvp_jax.runtime.mesh import by_seed, by_video, everywhere, over_seeds, place
from avvp_jax.training import keys
from avvp_jax.training.feed import Feed
from avvp_jax.training.order import EpochOrder
from avvp_jax.training.state import BatchArrays, EpochData, State
from avvp_jax.training.step import Step, take_batch


class Trainer:
    """Compiled training of one network, for several seeds at once, on the devices of a mesh.

    Except for rounding, results depend neither on the mesh nor on the number of steps in a
    compiled call.

    Args:
      step: the training step, see make_step.
      order: the videos of every batch.
      feed: the videos' features.
      arrays: what batches hold in addition to features, the same for all seeds.
      own: the same for each seed separately, with a leading axis of seeds.
      mesh: the devices.

    Attributes:
      order: the videos of every batch.
      steps: steps of an epoch.
    """

    def __init__(
        self,
        step: Step,
        order: EpochOrder,
        feed: Feed,
        arrays: BatchArrays,
        own: BatchArrays | None = None,
        *,
        mesh: Mesh,
    ):
        self.steps = order.steps
        self.order, self._step, self._feed, self._mesh = order, step, feed, mesh
        seeds, whole = by_seed(mesh), everywhere(mesh)
        self._arrays = place(arrays | BatchArrays(videos=feed.videos), whole)
        self._own = place(own or BatchArrays(), seeds)
        self._logged = None  # shapes of what a step logs; kept, because finding them is slow
        self._run_steps = jax.jit(
            self._steps,
            in_shardings=(State.sharding(mesh), whole, EpochData.shardings(mesh), whole, whole),
            out_shardings=State.sharding(mesh),
            donate_argnums=0,
        )
        self._finish = jax.jit(self._end, in_shardings=seeds, out_shardings=(seeds, whole))

    def run_epoch(
        self,
        state: State,
        epoch: int,
        first: int = 0,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[State, dict[str, Float[Array, " seeds"]] | None]:
        """Trains an epoch, or the rest of one.

        Args:
          state: of all seeds; its buffers are donated.
          epoch: the epoch to train, the first that is not finished in the state.
          first: number of its steps that are already done, `step` in the state.
          asked_to_stop: called between compiled calls; True stops there.

        Returns:
          The state after the epoch, and for each seed the means over the epoch's steps of the
          numbers that a step logs. If asked to stop: the state within the epoch, and None.
        """
        order = self.order.on_devices(state.epoch + 1)
        data, before = EpochData(self._own, order, self.order.roots, {}), None
        for start in range(first, self.steps, self._feed.steps_per_call):
            if start > first and asked_to_stop():
                done = np.full(state.step.shape, start, np.int32)
                return replace(state, step=place(done, by_seed(self._mesh))), None
            stop = min(start + self._feed.steps_per_call, self.steps)
            data = replace(data, block=self._feed.block(epoch, start, stop))
            state = self._run_steps(state, self._arrays, data, start, stop)
            # Only one call may be queued behind the running one: a stop has to wait for them all.
            jax.block_until_ready(before)
            before = jnp.copy(state.sums["loss"])
        ended, means = self._finish({"epoch": state.epoch, "step": state.step, "sums": state.sums})
        return replace(state, **ended), means

    def with_zero_sums(self, state: State) -> State:
        """`state` with all `sums` zero; its arrays may be mere shapes."""
        state = replace(state, sums={})
        if self._logged is None:
            order = jax.eval_shape(self.order.on_devices, state.epoch)
            data = EpochData(self._own, order, self.order.roots, self._feed.shapes)
            step = partial(self._one_step, self._arrays, 0, 0)
            _, self._logged = jax.eval_shape(partial(over_seeds, self._mesh, step), state, data)
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in self._logged.items()}
        return replace(state, sums=place(zeros, by_seed(self._mesh)))

    def _one_step(self, arrays: BatchArrays, start, index, state: State, data: EpochData):
        """A step of one seed.

        Args:
          start: the first step in `data.block`.
          index: the step within the epoch.

        Returns:
          The next state, and the numbers to log.
        """
        key = keys.dropout_key(data.root, state.epoch + 1, index)
        step = state.epoch * self.steps + index
        batch = take_batch(arrays | data.own, data.order[index], step, by_video(self._mesh))
        if data.block:
            batch["features"] = jax.tree.map(lambda x: x[index - start], data.block)
        return self._step(state, batch, key)

    def _steps(self, state: State, arrays: BatchArrays, data: EpochData, start, stop) -> State:
        """Runs the steps `start` to `stop` of all seeds."""

        # Bounds are traced, so that one program serves calls of any length.
        def one_seed(state, data):
            def body(index, state):
                after, logged = self._one_step(arrays, start, index, state, data)
                return replace(after, sums=jax.tree.map(jnp.add, state.sums, logged))

            return jax.lax.fori_loop(start, stop, body, state)

        return over_seeds(self._mesh, one_seed, state, data)

    def _end(self, old: dict) -> tuple[dict, dict[str, Float[Array, " seeds"]]]:
        """The fields of the state that change at the end of an epoch, and the means to log."""
        means = {name: value / self.steps for name, value in old["sums"].items()}
        zeros = jax.tree.map(jnp.zeros_like, {"step": old["step"], "sums": old["sums"]})
        return {"epoch": old["epoch"] + 1, **zeros}, means
