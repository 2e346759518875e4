"""Compiled training by epochs, for several seeds at once, on the devices of a mesh."""

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from avvp_jax.runtime.mesh import (
    by_seed,
    by_step,
    by_video,
    everywhere,
    over_seeds,
    place,
    with_sharding,
)
from avvp_jax.training import keys
from avvp_jax.training.feed import Feed
from avvp_jax.training.optimizer import Rates, Schedule
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
      own: those that differ between seeds, with a leading axis of seeds.
      schedule: the learning rates of each epoch.
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
        schedule: Schedule,
        mesh: Mesh,
    ):
        self.steps = order.steps
        self.order, self._feed, self._schedule, self._mesh = order, feed, schedule, mesh
        arrays = (arrays | BatchArrays(videos=feed.videos)).flat()
        self._arrays = place(arrays, everywhere(mesh))
        self._own = place(own or BatchArrays(), by_seed(mesh))
        self._run_steps, self._logged, self._end = programs(step, order.steps, mesh)

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
        order, rates = self.order.on_devices(state.epoch + 1), self._rates(epoch)
        data, before = EpochData(self._own, order, self.order.roots, {}), None
        for start in range(first, self.steps, self._feed.steps_per_call):
            if start > first and asked_to_stop():
                done = np.full(state.step.shape, start, np.int32)
                return replace(state, step=place(done, by_seed(self._mesh))), None
            stop = min(start + self._feed.steps_per_call, self.steps)
            data = replace(data, block=self._feed.block(epoch, start, stop))
            state = self._run_steps(state, self._arrays, data, rates, start, stop)
            # Only one call may be queued behind the running one: a stop has to wait for them all.
            jax.block_until_ready(before)
            before = jnp.copy(state.sums["loss"])
        ended, means = self._end({"epoch": state.epoch, "step": state.step, "sums": state.sums})
        return replace(state, **ended), means

    def with_zero_sums(self, state: State) -> State:
        """`state` with all `sums` zero; its arrays may be mere shapes."""
        state = replace(state, sums={})
        # Placed as in training, so that the step is not traced again there.
        order = jax.eval_shape(self.order.on_devices, state.epoch)
        order, block = with_sharding((order, self._feed.shapes), by_step(self._mesh))
        data = EpochData(self._own, order, self.order.roots, block)
        shapes = self._logged.eval_shape(state, self._arrays, data, self._rates(1))
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
        return replace(state, sums=place(zeros, by_seed(self._mesh)))

    def _rates(self, epoch: int) -> Rates:
        return place(self._schedule(epoch), everywhere(self._mesh))


class Programs(NamedTuple):
    """The compiled programs of a training, for several seeds.

    Attributes:
      run_steps: (state, arrays, data, rates, start, stop) -> the state after these steps; the
        first argument's buffers are donated.
      logged: (state, arrays, data, rates) -> what a step logs; only its shapes are asked for.
      end: fields of a state at the end of an epoch -> those that change, and the means to log.
    """

    run_steps: Callable
    logged: Callable
    end: Callable


# A stage of a method, a group of seeds or another run in this process may need the same ones.
@functools.lru_cache(64)
def programs(step: Step, steps: int, mesh: Mesh) -> Programs:
    """The programs of a training step, for epochs of so many steps, on the devices of a mesh."""
    seeds, whole = by_seed(mesh), everywhere(mesh)
    # Traced once for both programs below; inlined, which leaves the compiled programs as they are.
    one_step = jax.jit(partial(_one_step, step, steps, mesh), inline=True)

    # Bounds are traced, so that one program serves calls of any length.
    def run_steps(
        state: State, arrays: BatchArrays, data: EpochData, rates: Rates, start, stop
    ) -> State:
        def one_seed(state, data):
            def body(index, state):
                before = replace(state, sums={})
                after, logged = one_step(arrays, rates, start, index, before, data)
                return replace(after, sums=jax.tree.map(jnp.add, state.sums, logged))

            return jax.lax.fori_loop(start, stop, body, state)

        return over_seeds(mesh, one_seed, state, data)

    def logged(state: State, arrays: BatchArrays, data: EpochData, rates: Rates) -> dict:
        return over_seeds(mesh, partial(one_step, arrays, rates, 0, 0), state, data)[1]

    def end(old: dict) -> tuple[dict, dict[str, Float[Array, " seeds"]]]:
        means = {name: value / steps for name, value in old["sums"].items()}
        zeros = jax.tree.map(jnp.zeros_like, {"step": old["step"], "sums": old["sums"]})
        return {"epoch": old["epoch"] + 1, **zeros}, means

    places = State.sharding(mesh), whole, EpochData.shardings(mesh), whole, whole, whole
    return Programs(
        jax.jit(run_steps, in_shardings=places, out_shardings=seeds, donate_argnums=0),
        jax.jit(logged),
        jax.jit(end, in_shardings=seeds, out_shardings=(seeds, whole)),
    )


def _one_step(
    step: Step,
    steps: int,
    mesh: Mesh,
    arrays: BatchArrays,
    rates: Rates,
    start: Int[Array, ""] | int,
    index: Int[Array, ""] | int,
    state: State,
    data: EpochData,
) -> tuple[State, dict[str, Float[Array, ""]]]:
    """A step of one seed.

    Args:
      step, steps, mesh: see programs.
      arrays: what batches hold, the same for all seeds.
      rates: the learning rates.
      start: the first step in `data.block`.
      index: the step within the epoch.

    Returns:
      The next state, and the numbers to log.
    """
    key = keys.dropout_key(data.root, state.epoch + 1, index)
    number = state.epoch * steps + index
    rows, videos = data.order[index], by_video(mesh)
    batch = take_batch(arrays | data.own, rows, number, videos, step_of_epoch=index)
    if data.block:
        batch["features"] = jax.tree.map(lambda x: x[index - start], data.block)
    return step(state, batch, key, rates)
