"""What one training of several seeds is, all of it known and checked before it begins."""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.runtime.mesh import in_turn
from avvp_jax.training import keys
from avvp_jax.training.optimizer import Schedule, make_optimizer, make_schedule
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import Loss


@dataclasses.dataclass(frozen=True)
class Model:
    """What trains, and what is left of it.

    Attributes:
      network: what trains.
      loss: of it, see methods/han/stages.py.
      result: the parser that validation scores and checkpoints keep.
      keep: makes the result's variables of the trained ones.
    """

    network: Network
    loss: Loss
    result: Network
    keep: Callable[[Variables], Variables] = lambda variables: variables


@dataclasses.dataclass(frozen=True)
class Data:
    """What it trains on and is selected with.

    Attributes:
      train, val: splits of the data set.
      arrays: what batches hold beside features.
      own: the same of each seed alone, with a leading axis of seeds.
    """

    train: Split
    val: Split
    arrays: BatchArrays = dataclasses.field(default_factory=BatchArrays)
    own: BatchArrays = dataclasses.field(default_factory=BatchArrays)


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of several seeds.

    Attributes:
      settings: the config as the stage has it.
      folder: of its checkpoints.
      model, data: what trains, and on what.
      seeds: each is an independent run.
      mesh: the devices that they share.
      stopped: the seeds that diverged in an earlier stage, which do not train.
      start: gives variables instead of drawn ones, where a training begins.
      scope: goes before the names of what is logged.
      optimizer, schedule: as `settings` say.

    Raises:
      UserError: val cannot select a model, or optimizer or schedule are unknown.
    """

    settings: ConfigDict
    folder: str
    model: Model
    data: Data
    seeds: Sequence[int]
    mesh: Mesh
    stopped: Sequence[bool] = ()
    start: Callable[[], Variables | None] = lambda: None
    scope: str = ""
    optimizer: optax.GradientTransformation = dataclasses.field(init=False)
    schedule: Schedule = dataclasses.field(init=False)

    def __post_init__(self):
        val, settings = self.data.val, self.settings
        if val.truth is None:
            raise UserError(f"split {val.name} has no dense annotations to select a model with")
        object.__setattr__(self, "optimizer", make_optimizer(settings.optimizer))
        object.__setattr__(self, "schedule", make_schedule(settings.schedule, self.epochs))

    @property
    def epochs(self) -> int:
        return self.settings.train.epochs

    @property
    def alone(self) -> bool:
        """Whether the whole run has one seed, so that it ends where that diverges."""
        return self.settings.num_seeds == 1

    @property
    def roots(self) -> Key[Array, " seeds"]:
        """The seeds' keys."""
        generator = self.settings.train.generator
        return jnp.stack([keys.root_key(seed, generator) for seed in self.seeds])

    @property
    def steps_per_call(self) -> int:
        """How many steps a compiled call may have."""
        # A signal waits for the end of a call, in which seeds may run one after the other.
        in_one_call = len(self.seeds) if in_turn(self.mesh) else 1
        return max(1, self.settings.train.steps_per_call // in_one_call)
