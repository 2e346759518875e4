"""Which videos are in which batch: of every epoch and seed, from the seed's key alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key, PRNGKeyArray

from avvp_jax.runtime.mesh import by_seed, by_step, host_device, place, whole_batch
from avvp_jax.training import keys


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


class EpochOrder:
    """The videos of every batch of several seeds' training, on the devices and on the host.

    Args:
      roots: the seeds' keys, the same in every process.
      videos, batch_size: of the training data; the smaller last batch is kept.
      shuffle: a new order every epoch, else the order of the data.
      mesh: whose devices share batches.

    Attributes:
      roots: the seeds' keys, on the mesh.
      steps: of an epoch.
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
        order = partial(
            epoch_order,
            videos=videos,
            batch_size=batch_size,
            shuffle=shuffle,
            rows=whole_batch(batch_size, mesh),
        )
        seeds = by_seed(mesh)
        self._host_roots, self._on_host = roots, jax.jit(jax.vmap(order))
        self._on_devices = jax.jit(jax.vmap(order), in_shardings=seeds, out_shardings=by_step(mesh))
        wrap = partial(jax.random.wrap_key_data, impl=jax.random.key_impl(roots))
        data = place(jax.random.key_data(roots), seeds)
        self.roots = jax.jit(wrap, out_shardings=seeds)(data)

    def on_devices(self, epochs: Int[Array, " seeds"]) -> Int[Array, "seeds steps rows"]:
        """The videos of every batch of an epoch, which counts from 1."""
        return self._on_devices(self.roots, epochs)

    def on_host(self, epoch: int) -> Int[np.ndarray, "seeds steps rows"]:
        """The same, found by this process alone."""
        with jax.default_device(host_device()):
            epochs = np.full(len(self._host_roots), epoch, np.int32)
            return np.asarray(self._on_host(self._host_roots, epochs))

    def batch(self, seed: int, epoch: int, step: int) -> list[int]:
        """The videos of a batch of the seed with an index; epochs count from 1, steps from 0."""
        return [row for row in self.on_host(epoch)[seed, step].tolist() if row >= 0]
