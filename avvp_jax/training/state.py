"""The state that training updates and the arrays that it reads, with their shardings.

With several seeds, every leaf has a leading axis of seeds. The training step is written for one
seed and does not know of that axis: `vmap` adds it, and shardings distribute it over the devices
(see runtime/mesh.py). Fields are PyTree where JAX puts other things into them: shardings, axes,
None.
"""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.typing import ArrayLike
from jaxtyping import Array, Int, PyTree, Shaped

from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, by_step
from avvp_jax.training.selection import Best


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """The training state of one seed; a checkpoint holds all of it.

    Attributes:
      params, stats: the network's variables.
      optimizer: the optimizer's state.
      epoch: int32 [], number of finished epochs.
      step: int32 [], number of finished steps of the current epoch.
      sums: name -> float32 [], sums over these steps of the numbers that a step logs.
      stopped: int32 [], the step at which loss or gradient ceased to be finite, counted over
        all epochs from 0; -1 while training runs.
      best: the best model on val so far.
    """

    params: PyTree
    stats: PyTree
    optimizer: PyTree
    epoch: PyTree
    step: PyTree
    sums: PyTree
    stopped: PyTree
    best: Best

    @property
    def variables(self) -> Variables:
        """The variables of the network that is trained."""
        return {"params": self.params, "stats": self.stats}

    @property
    def position(self) -> tuple[int, int]:
        """Finished epochs, and finished steps of the current one; the same for all seeds."""
        return int(self.epoch.max()), int(self.step.max())

    @staticmethod
    def sharding(mesh: Mesh) -> NamedSharding:
        """The sharding of every leaf of several seeds' state."""
        return by_seed(mesh)


def init_state(optimizer: optax.GradientTransformation, variables: Variables, best: Best) -> State:
    """The state of one seed before the first epoch; `sums` is still empty."""
    return State(
        params=variables["params"],
        stats=variables["stats"],
        optimizer=optimizer.init(variables["params"]),
        epoch=jnp.int32(0),
        step=jnp.int32(0),
        sums={},
        stopped=jnp.int32(-1),
        best=best,
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BatchArrays:
    """Arrays that batches are made from, by name.

    Attributes:
      videos: arrays (or trees of arrays) with an entry for each training video.
      shared: arrays that every batch gets whole.
    """

    videos: dict[str, PyTree] = dataclasses.field(default_factory=dict)
    shared: dict[str, PyTree] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "BatchArrays") -> "BatchArrays":
        return BatchArrays(self.videos | other.videos, self.shared | other.shared)

    def flat(self) -> "BatchArrays":
        """The same with `videos` as Flat arrays."""
        return BatchArrays(flat(self.videos), self.shared)


@partial(jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["shape"])
@dataclasses.dataclass(frozen=True)
class Flat:
    """An array with an entry for each video, in which the numbers of a video are in one row.

    A TPU pads the last two axes of an array to whole tiles, ten segments to sixteen. A program
    that takes videos from such an array first copies all of it into that form.

    Attributes:
      rows: [videos, numbers of a video]; a PyTree as the fields above.
      shape: of a video.
    """

    rows: PyTree
    shape: tuple[int, ...]

    @classmethod
    def of(cls, x: Shaped[Array | np.ndarray, "videos ..."]) -> "Flat":
        return cls(x.reshape(len(x), math.prod(x.shape[1:])), x.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Int[ArrayLike, " batch"]) -> Shaped[Array, "batch ..."]:
        """Some videos, in their own shape."""
        return jnp.take(self.rows, rows, axis=0).reshape(len(rows), *self.shape)


def flat(arrays: PyTree[Shaped[ArrayLike, "videos ..."]]) -> PyTree[Flat]:
    """All arrays with an entry for each video as Flat."""
    return jax.tree.map(Flat.of, arrays)


def take_videos(
    arrays: PyTree[Flat | Shaped[ArrayLike, "videos ..."]], rows: Int[ArrayLike, " batch"]
) -> PyTree[Shaped[Array, "batch ..."]]:
    """Some videos of every array."""

    def take(x):
        return x.take(rows) if isinstance(x, Flat) else jnp.take(x, rows, axis=0)

    return jax.tree.map(take, arrays, is_leaf=lambda x: isinstance(x, Flat))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EpochData:
    """The arrays of one seed that the steps of an epoch read; arrays of all seeds are elsewhere.

    Attributes:
      own: batch arrays of this seed only.
      order: int [steps, rows], the videos of every batch; -1 is padding.
      root: the seed's key.
      block: role -> float32 [steps, rows, segments, width], features of some steps, read from
        disk; empty if all features are on the devices.
    """

    own: PyTree
    order: PyTree
    root: PyTree
    block: PyTree

    @classmethod
    def shardings(cls, mesh: Mesh) -> "EpochData":
        """The sharding of each attribute of several seeds' data."""
        seeds, batches = by_seed(mesh), by_step(mesh)
        return cls(own=seeds, order=batches, root=seeds, block=batches)
