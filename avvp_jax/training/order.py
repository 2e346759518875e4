"""Which videos are in which batch. The order of an epoch depends on the seed's key only."""

import functools
from collections.abc import Callable, Hashable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Int, Key, PRNGKeyArray

from avvp_jax.runtime.mesh import by_seed, by_step, host_device, place, whole_batch
from avvp_jax.training import keys


def epoch_order(
    root: PRNGKeyArray,
    epoch: Int[ArrayLike, ""],
    videos: int,
    batch_size: int,
    shuffle: bool,
    rows: int = 0,
) -> Int[Array, "steps rows"]:
    """The videos of every batch of an epoch; -1 is padding.

    The last batch is padded to `batch_size`. Every batch is then padded to `rows`, so that
    devices can share it equally.
    """
    order = jnp.arange(videos)
    if shuffle:
        order = jax.random.permutation(keys.shuffle_key(root, epoch), videos)
    order = jnp.pad(order, (0, -videos % batch_size), constant_values=-1)
    order = order.reshape(-1, batch_size)
    return jnp.pad(order, ((0, 0), (0, max(rows - batch_size, 0))), constant_values=-1)


class EpochOrder:
    """The videos of every batch, for several seeds; available on the devices and on the host.

    Args:
      roots: the seeds' keys, the same in every process.
      videos: number of training videos.
      batch_size: videos in a batch; the last batch of an epoch may be smaller.
      shuffle: whether every epoch has a new order; if not, the order of the data.
      mesh: the devices that share batches.

    Attributes:
      roots: the seeds' keys, on the mesh.
      steps: steps of an epoch.
    """

    def __init__(
        self,
        roots: Key[Array, " seeds"],
        *,
        videos: int,
        batch_size: int,
        shuffle: bool,
        mesh: Mesh,
    ):
        self.steps = -(-videos // batch_size)
        self._host_roots = roots
        self._on_host, self._on_devices = _orders(videos, batch_size, shuffle, mesh)
        data = place(jax.random.key_data(roots), by_seed(mesh))
        self.roots = _as_keys(jax.random.key_impl(roots), mesh)(data)

    def on_devices(self, epochs: Int[Array, " seeds"]) -> Int[Array, "seeds steps rows"]:
        """The videos of every batch, on the devices; `epochs` has the epoch (from 1) per seed."""
        return self._on_devices(self.roots, epochs)

    def on_host(self, epoch: int) -> Int[np.ndarray, "seeds steps rows"]:
        """The videos of every batch of an epoch, computed by this process alone on its host."""
        with jax.default_device(host_device()):
            epochs = np.full(len(self._host_roots), epoch, np.int32)
            return np.asarray(self._on_host(self._host_roots, epochs))

    def batch(self, seed: int, epoch: int, step: int) -> list[int]:
        """The videos of one batch.

        Args:
          seed: index of the seed.
          epoch: from 1.
          step: from 0.
        """
        return [row for row in self.on_host(epoch)[seed, step].tolist() if row >= 0]


@functools.lru_cache(64)
def _orders(videos: int, batch_size: int, shuffle: bool, mesh: Mesh) -> tuple[Callable, Callable]:
    """epoch_order of several seeds, compiled for the host and for the devices."""
    rows = whole_batch(batch_size, mesh)
    order = jax.vmap(
        partial(epoch_order, videos=videos, batch_size=batch_size, shuffle=shuffle, rows=rows)
    )
    on_devices = jax.jit(order, in_shardings=by_seed(mesh), out_shardings=by_step(mesh))
    return jax.jit(order), on_devices


@functools.lru_cache(64)
def _as_keys(generator: Hashable, mesh: Mesh) -> Callable:
    """Turns the seeds' key data on the devices into their keys."""
    wrap = partial(jax.random.wrap_key_data, impl=generator)
    return jax.jit(wrap, out_shardings=by_seed(mesh))
