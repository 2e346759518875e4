"""The description of one training run of several seeds, complete before training begins."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.runtime.mesh import in_turn
from avvp_jax.training import keys
from avvp_jax.training.optimizer import Schedule, make_optimizer, make_schedule
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import Loss


@dataclasses.dataclass(frozen=True)
class Model:
    """The network that is trained, and the one that results.

    Attributes:
      network: the network that is trained.
      loss: its loss, see methods/han/stages.py.
      result: the parser that validation scores and checkpoints keep.
      keep: converts the trained variables to those of `result`.
    """

    network: Network
    loss: Loss
    result: Network
    keep: Callable[[Variables], Variables] = lambda variables: variables


@dataclasses.dataclass(frozen=True)
class Data:
    """The data of a training run.

    Attributes:
      train, val: splits of the data set, to train on and to select the best model on.
      arrays: what batches hold in addition to features, the same for all seeds.
      own: those that differ between seeds, with a leading axis of seeds.
    """

    train: Split
    val: Split
    arrays: BatchArrays = dataclasses.field(default_factory=BatchArrays)
    own: BatchArrays = dataclasses.field(default_factory=BatchArrays)


@dataclasses.dataclass(frozen=True)
class Job:
    """The training of one stage, for several seeds at once.

    Attributes:
      settings: the config with the stage's changes.
      folder: where checkpoints go.
      model, data: what is trained, and on which data.
      seeds: the seeds; each is an independent run.
      mesh: the devices that they share.
      stopped: for each seed, whether it diverged in an earlier stage; such seeds do not train.
      start: returns the initial variables; None means that they are drawn.
      given: returns those of `stats` that are not drawn then, by name.
      scope: prefix of the names of logged numbers.
      fixed_epoch: the epoch whose model is kept beside the best, see Best.fixed; 0 is none.
      optimizer, schedule: made from `settings`.

    Raises:
      UserError: optimizer or schedule are unknown.
    """

    settings: ConfigDict
    folder: str
    model: Model
    data: Data
    seeds: Sequence[int]
    mesh: Mesh
    stopped: Sequence[bool] = ()
    start: Callable[[], Variables | None] = lambda: None
    given: Callable[[], Mapping[str, np.ndarray]] = dict
    scope: str = ""
    fixed_epoch: int = 0
    optimizer: optax.GradientTransformation = dataclasses.field(init=False)
    schedule: Schedule = dataclasses.field(init=False)

    def __post_init__(self):
        settings = self.settings
        object.__setattr__(self, "optimizer", make_optimizer(settings.optimizer))
        object.__setattr__(self, "schedule", make_schedule(settings.schedule, self.epochs))

    @property
    def epochs(self) -> int:
        return self.settings.train.epochs

    @property
    def alone(self) -> bool:
        """Whether the whole run has one seed; it then ends if that seed diverges."""
        return self.settings.num_seeds == 1

    @property
    def roots(self) -> Key[Array, " seeds"]:
        """The random keys of the seeds."""
        generator = self.settings.train.generator
        return jnp.stack([keys.root_key(seed, generator) for seed in self.seeds])

    @property
    def steps_per_call(self) -> int:
        """The most steps that a compiled call may have."""
        # Training only reacts to a signal between calls. If seeds run one after the other within
        # a call, it takes longer, so it has fewer steps.
        in_one_call = len(self.seeds) if in_turn(self.mesh) else 1
        return max(1, self.settings.train.steps_per_call // in_one_call)
