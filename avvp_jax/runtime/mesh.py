"""The mesh of devices, with the axes "seeds" and "batch", and shardings on it.

The first axis divides the seeds, the second the videos of each seed's batches. Programs declare
the shardings of their arrays, and the compiler adds the communication between devices.
"""

import math
import os
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from avvp_jax.errors import UserError

SEEDS, BATCH = "seeds", "batch"


def make_mesh(together: int = 1, *, devices: int = 0, seeds: int = 0) -> Mesh:
    """The mesh for seeds that train together.

    The first axis gets as many devices as divide the number of seeds; the second divides the
    rest.

    Args:
      together: number of seeds that train together.
      devices: `config.mesh.devices`, how many devices to use; 0 is all, of all processes.
      seeds: `config.mesh.seeds`, the largest size of the axis "seeds"; 0 is no limit.

    Raises:
      UserError: there are too few devices, or `seeds` does not divide their number.
    """
    found = jax.devices()
    count = devices or len(found)
    if count > len(found):
        raise UserError(f"config.mesh.devices={devices}: there are {len(found)}; 0 takes all")
    if count < len(found) and jax.process_count() > 1:
        raise UserError(
            f"config.mesh.devices={devices}: several processes use all their {len(found)} "
            "devices; leave it 0"
        )
    if seeds and count % seeds:
        raise UserError(f"config.mesh.seeds={seeds} must divide the {count} devices, or be 0")
    return arranged(np.array(found[:count]), together, seeds)


def arranged(devices: np.ndarray, together: int, seeds: int = 0) -> Mesh:
    """The mesh of given devices; see make_mesh."""
    first = math.gcd(together, seeds or devices.size)
    return Mesh(devices.reshape(first, -1), (SEEDS, BATCH))


def own_mesh() -> Mesh:
    """A mesh of one device of this process, for work without the other processes."""
    return Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), (SEEDS, BATCH))


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_seed(mesh: Mesh) -> NamedSharding:
    """The sharding of an array with a leading axis of seeds."""
    return NamedSharding(mesh, PartitionSpec(SEEDS))


def by_step(mesh: Mesh) -> NamedSharding:
    """The sharding of batches of several steps, [seeds, steps, videos, ...]."""
    return NamedSharding(mesh, PartitionSpec(SEEDS, None, BATCH))


def by_video(mesh: Mesh) -> NamedSharding:
    """The sharding of one seed's batch, with a leading axis of videos; `vmap` adds the seeds."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def in_turn(mesh: Mesh) -> bool:
    """Whether seeds run one after the other within a compiled call: on a single CPU device.

    There, matrix products of one seed already use the whole CPU, and its weights stay in the
    caches.
    """
    return mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"


def over_seeds(mesh: Mesh, function: Callable, *own):
    """Maps `function` over the seeds, the leading axis of its arguments."""
    if not in_turn(mesh):
        return jax.vmap(function, spmd_axis_name=SEEDS)(*own)
    if jax.tree.leaves(own)[0].shape[0] > 1:
        return jax.lax.map(lambda each: function(*each), own)
    # One seed needs no loop, which would copy what goes in and what comes out.
    only = jax.tree.map(lambda x: x[0], own)
    return jax.tree.map(lambda x: x[None], function(*only))


def whole_batch(videos: int, mesh: Mesh) -> int:
    """`videos` rounded up, so that every device gets the same number."""
    return -(-videos // mesh.shape[BATCH]) * mesh.shape[BATCH]


def host_device() -> jax.Device:
    """The CPU of this process as a JAX device, also if there is an accelerator."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the user has disabled JAX's CPU backend
        return jax.local_devices()[0]


def device_memory() -> float:
    """Bytes of memory of one device; if it reports none, its share of the host's memory."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(stats.get("bytes_limit", host / len(devices)))


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Puts arrays on the devices; every process must have the same arrays on its host."""

    def put(x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree)


def with_sharding(shapes: PyTree, sharding: NamedSharding) -> PyTree:
    """Shapes and dtypes with a sharding added."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
