"""Features that stay on disk: read through Grain a few steps before the device needs them."""

import functools
import math
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from avvp_jax.data.features import StoredFeatures
from avvp_jax.data.streaming import read_ahead
from avvp_jax.runtime.mesh import by_step
from avvp_jax.training.trainer import Trainer

# Of features that one process reads for one compiled call; about four times as much is held at
# once: the call's on host and device, and those of the next.
BLOCK_BYTES = 64 << 20
Order = Callable[[int], Int[np.ndarray, "seeds steps rows"]]


class _Steps:
    """The rows of every step of a training that the devices of this process need."""

    def __init__(self, order: Order, epochs: int, steps: int, parts: list[tuple[slice, slice]]):
        self._order = functools.lru_cache(maxsize=2)(order)
        self._lock = threading.Lock()
        self._epochs, self._steps, self._parts = epochs, steps, parts

    def __len__(self) -> int:
        return self._epochs * self._steps

    def __getitem__(self, index: int) -> Int[np.ndarray, "parts seeds rows"]:
        epoch, step = divmod(int(index), self._steps)
        with self._lock:
            order = self._order(epoch + 1)
        # Padding has weight zero; like the compiled step, it shows the first video.
        rows = np.maximum(order[:, step], 0)
        return np.stack([rows[part] for part in self._parts])


class Feed:
    """The features of a training's steps, of all its seeds, in blocks of some steps.

    Each process reads what its devices need. Blocks asked for one after the other are read
    ahead.

    Args:
      stored: of the training videos.
      trainer: knows the videos of every batch.
      epochs: of the training.

    Attributes:
      steps_per_call: those of a block.
    """

    def __init__(self, stored: StoredFeatures, trainer: Trainer, epochs: int, mesh: Mesh):
        self._stored, self._sharding = stored, by_step(mesh)
        shape = trainer.epoch_rows(1).shape
        seeds, self._steps, rows = shape
        places = self._sharding.addressable_devices_indices_map(shape)
        self._devices = list(places)
        parts = [(seeds_part, rows_part) for seeds_part, _, rows_part in places.values()]
        self._reads = _Steps(trainer.epoch_rows, epochs, self._steps, parts)
        share = len(places) / mesh.size
        video_bytes = sum(4 * math.prod(shape) for shape in stored.shapes.values())
        step_bytes = seeds * rows * video_bytes * share
        fitting = max(1, int(BLOCK_BYTES / step_bytes))
        self.steps_per_call = min(trainer.steps_per_call, self._steps, fitting)
        self._shape = (seeds, self.steps_per_call, rows)
        self._coming, self._next = iter(()), -1

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Of a block."""
        return {
            role: jax.ShapeDtypeStruct((*self._shape, *shape), np.float32)
            for role, shape in self._stored.shapes.items()
        }

    def block(self, epoch: int, start: int, stop: int) -> dict[str, Float[Array, "..."]]:
        """Features [seeds, steps, rows, segments, width] from one step of an epoch to another.

        What is beyond the last step of a shorter block means nothing.
        """
        first = (epoch - 1) * self._steps + start
        if first != self._next:
            ahead = self.steps_per_call
            self._coming = read_ahead(self._stored.take, self._reads, first, ahead)
        self._next = first + stop - start
        read = [next(self._coming) for _ in range(start, stop)]
        return {role: self._assembled([step[role] for step in read]) for role in read[0]}

    def _assembled(self, steps: list[Float[np.ndarray, "parts seeds rows segments _"]]) -> Array:
        """One array of all devices, of each device's part of every step."""
        shards = []
        for part, device in enumerate(self._devices):
            seeds, rows, *of_video = steps[0][part].shape
            shard = np.zeros((seeds, self.steps_per_call, rows, *of_video), np.float32)
            for index, step in enumerate(steps):
                shard[:, index] = step[part]
            shards.append(jax.device_put(shard, device))
        shape = (*self._shape, *steps[0].shape[-2:])
        return jax.make_array_from_single_device_arrays(shape, self._sharding, shards)
