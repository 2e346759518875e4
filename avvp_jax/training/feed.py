"""Feeds, which bring features to the training step: from the devices' memory, or from disk.

Both feeds have the same interface:
  videos           features on the devices, for BatchArrays.videos; empty if they are on disk
  block(...)       features of some steps, read from disk; empty if they are on the devices
  shapes           shapes of a block
  steps_per_call   the most steps that a compiled call may have
"""

import functools
import math
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from avvp_jax.data.features import ResidentFeatures, SplitFeatures, StoredFeatures
from avvp_jax.data.streaming import read_ahead
from avvp_jax.runtime.mesh import by_step
from avvp_jax.training.order import EpochOrder

# Features that one process reads for a compiled call. About four times as much is in memory at
# once: the features of this call and of the next, each on host and device.
BLOCK_BYTES = 64 << 20


class ResidentFeed:
    """A feed of features that are all on the devices; each step picks its videos there."""

    def __init__(self, features: ResidentFeatures, steps_per_call: int):
        self.videos = {"features": features.arrays}
        self.shapes: dict[str, jax.ShapeDtypeStruct] = {}
        self.steps_per_call = steps_per_call

    def block(self, epoch: int, start: int, stop: int) -> dict[str, Array]:
        """Empty: the features are on the devices."""
        return {}


class StoredFeed:
    """A feed of features from disk, for all seeds, in blocks of several steps.

    Each process reads the features that its own devices need. Consecutive blocks are read
    ahead.

    Args:
      features: of the training videos.
      order: the videos of every batch.
      epochs: number of epochs.
      steps_per_call: the most steps of a block; a block has fewer if it would exceed BLOCK_BYTES,
        but at least one.
      mesh: the devices.
    """

    def __init__(
        self,
        features: StoredFeatures,
        order: EpochOrder,
        epochs: int,
        steps_per_call: int,
        mesh: Mesh,
    ):
        self._features, self._sharding = features, by_step(mesh)
        shape = order.on_host(1).shape
        seeds, self._steps, rows = shape
        places = self._sharding.addressable_devices_indices_map(shape)
        self._devices = list(places)
        parts = [(seeds_part, rows_part) for seeds_part, _, rows_part in places.values()]
        self._reads = _Steps(order.on_host, epochs, self._steps, parts)
        read = seeds * rows * len(places) / mesh.size
        self.videos: dict = {}
        self.steps_per_call = min(steps_per_call, self._steps, steps_of_block(features, read))
        self._shape = (seeds, self.steps_per_call, rows)
        self._coming, self._next = iter(()), -1

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of a block."""
        return {
            role: jax.ShapeDtypeStruct((*self._shape, *shape), self._features.dtypes[role])
            for role, shape in self._features.shapes.items()
        }

    def block(self, epoch: int, start: int, stop: int) -> dict[str, Float[Array, "..."]]:
        """Features [seeds, steps, rows, segments, width] of the steps `start` to `stop`.

        A block always has `steps_per_call` steps; those from `stop` on are zero.

        Args:
          epoch: which epoch; the first is 1.
          start, stop: steps within the epoch, `stop` exclusive.

        Raises:
          UserError: the prepared data is damaged.
        """
        first = (epoch - 1) * self._steps + start
        if first != self._next:
            ahead = self.steps_per_call
            self._coming = read_ahead(self._features.take, self._reads, first, ahead)
        self._next = first + stop - start
        read = [next(self._coming) for _ in range(start, stop)]
        return {role: self._assemble([step[role] for step in read]) for role in read[0]}

    def _assemble(self, steps: list[Float[np.ndarray, "parts seeds rows segments _"]]) -> Array:
        """Assembles the devices' parts of every step to one array on all devices."""
        shards = []
        for part, device in enumerate(self._devices):
            seeds, rows, *of_video = steps[0][part].shape
            whole = (seeds, self.steps_per_call, rows, *of_video)
            shard = np.zeros(whole, steps[0][part].dtype)
            for index, step in enumerate(steps):
                shard[:, index] = step[part]
            shards.append(jax.device_put(shard, device))
        shape = (*self._shape, *steps[0].shape[-2:])
        return jax.make_array_from_single_device_arrays(shape, self._sharding, shards)


Feed = ResidentFeed | StoredFeed


def steps_of_block(features: SplitFeatures, videos: float) -> int:
    """How many steps' features make a block, where one process reads so many videos a step."""
    video_bytes = sum(
        features.dtypes[role].itemsize * math.prod(of_video)
        for role, of_video in features.shapes.items()
    )
    return max(1, int(BLOCK_BYTES / (videos * video_bytes)))


def make_feed(
    features: SplitFeatures, order: EpochOrder, epochs: int, steps_per_call: int, mesh: Mesh
) -> Feed:
    """The feed for features in memory or on disk."""
    if features.arrays:
        return ResidentFeed(features, steps_per_call)
    return StoredFeed(features, order, epochs, steps_per_call, mesh)


class _Steps:
    """The rows that the devices of this process need, as a sequence over all training steps."""

    def __init__(
        self,
        order: Callable[[int], Int[np.ndarray, "seeds steps rows"]],
        epochs: int,
        steps: int,
        parts: list[tuple[slice, slice]],
    ):
        self._order = functools.lru_cache(maxsize=2)(order)
        self._lock = threading.Lock()
        self._epochs, self._steps, self._parts = epochs, steps, parts

    def __len__(self) -> int:
        return self._epochs * self._steps

    def __getitem__(self, index: int) -> Int[np.ndarray, "parts seeds rows"]:
        epoch, step = divmod(int(index), self._steps)
        with self._lock:
            order = self._order(epoch + 1)
        # Padding (-1) reads the first video, like take_batch; its weight is zero.
        rows = np.maximum(order[:, step], 0)
        return np.stack([rows[part] for part in self._parts])
