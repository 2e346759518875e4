"""Which device holds what: a mesh of devices with the axes seeds and batch.

The state of every seed lies on the devices of its place along the first axis, and the videos of
its batches are shared out along the second. Programs say how their arrays lie; what devices
have to tell one another is the compiler's work.
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
    """The mesh for so many seeds that train together.

    As many devices as divide the seeds go to the first axis, the others to the second.

    Args:
      devices: `config.mesh.devices`, how many to use; 0 is all of all processes.
      seeds: `config.mesh.seeds`, the most that seeds are shared out to; 0 is all.

    Raises:
      UserError: there are not so many devices, or `seeds` does not divide them.
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
    first = math.gcd(together, seeds or count)
    return Mesh(np.array(found[:count]).reshape(first, -1), (SEEDS, BATCH))


def own_mesh() -> Mesh:
    """The mesh of one device of this process, for what it does without the others."""
    return Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), (SEEDS, BATCH))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_seed(mesh: Mesh) -> NamedSharding:
    """A leading axis of seeds shared out."""
    return NamedSharding(mesh, PartitionSpec(SEEDS))


def by_step(mesh: Mesh) -> NamedSharding:
    """Batches of several steps, [seeds, steps, videos, ...]: seeds and videos shared out."""
    return NamedSharding(mesh, PartitionSpec(SEEDS, None, BATCH))


def by_video(mesh: Mesh) -> NamedSharding:
    """A leading axis of a batch's videos shared out; under `vmap` over seeds, that of each."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def in_turn(mesh: Mesh) -> bool:
    """Whether seeds run one after the other within a compiled call: on a lone CPU device.

    There products are large enough as they are, and one seed's weights stay in the caches.
    """
    return mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"


def over_seeds(mesh: Mesh, function: Callable, *own):
    """`function` of every seed, whose arguments have a leading axis of seeds."""
    if in_turn(mesh):
        return jax.lax.map(lambda each: function(*each), own)
    return jax.vmap(function, spmd_axis_name=SEEDS)(*own)


def whole_batch(videos: int, mesh: Mesh) -> int:
    """`videos` and so many more that every device has as many."""
    return -(-videos // mesh.shape[BATCH]) * mesh.shape[BATCH]


def host_device() -> jax.Device:
    """The processor of this process, which has a device of JAX's beside an accelerator's."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the user has switched off all but the accelerator
        return jax.local_devices()[0]


def device_memory() -> float:
    """Bytes of one device, or its share of the host's where the device does not say."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(stats.get("bytes_limit", host / len(devices)))


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Arrays of the host, the same in every process, on the devices."""

    def put(x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree)


def with_sharding(shapes: PyTree, sharding: NamedSharding) -> PyTree:
    """Shapes and dtypes, of arrays that have this sharding."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
