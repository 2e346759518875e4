"""What training changes and what it reads, as trees of arrays, with how they lie on a mesh.

The trees of several seeds have a leading axis in every leaf. Nothing in a step knows of it: many
seeds are `vmap` of one, and many devices are where the arrays lie (see runtime/mesh.py).
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree

from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, by_step
from avvp_jax.training.selection import Best


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """The training of one seed, all of which a checkpoint holds.

    Attributes:
      params, stats: the network's variables.
      optimizer: the optimizer's state.
      epoch: int32 [], finished epochs.
      step: int32 [], finished steps of the epoch after them.
      sums: name -> float32 [], over these steps, of what a step logs.
      stopped: int32 [], the step, counted from the first epoch's first as 0, at which loss or
        gradient were not finite any more; -1 before.
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
        """Those of the network that trains."""
        return {"params": self.params, "stats": self.stats}

    @property
    def position(self) -> tuple[int, int]:
        """Finished epochs, and finished steps of the one after them, the same for all seeds."""
        return int(self.epoch.max()), int(self.step.max())

    @staticmethod
    def sharding(mesh: Mesh) -> NamedSharding:
        """Of every leaf of several seeds' state."""
        return by_seed(mesh)


def init_state(optimizer: optax.GradientTransformation, variables: Variables, best: Best) -> State:
    """The state of one seed before the first epoch, but for the names in `sums`."""
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
    """What batches hold beside features, by name.

    Attributes:
      videos: arrays (or trees of arrays) with an entry for each training video.
      shared: arrays that every batch sees whole.
    """

    videos: dict[str, PyTree] = dataclasses.field(default_factory=dict)
    shared: dict[str, PyTree] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "BatchArrays") -> "BatchArrays":
        return BatchArrays(self.videos | other.videos, self.shared | other.shared)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EpochData:
    """What one seed's steps of an epoch read beside the arrays that all seeds share.

    Attributes:
      own: arrays of this seed alone.
      order: int [steps, rows], the videos of every batch; -1 is none.
      root: the seed's key.
      block: role -> float32 [steps, rows, segments, width], the features of some steps where
        they come from disk; empty where all are on the devices.
    """

    own: BatchArrays
    order: PyTree
    root: PyTree
    block: dict[str, PyTree]

    @classmethod
    def shardings(cls, mesh: Mesh) -> "EpochData":
        """Of several seeds' data, for each attribute."""
        seeds, batches = by_seed(mesh), by_step(mesh)
        return cls(own=seeds, order=batches, root=seeds, block=batches)
