"""What the stages of a run share: its config, seeds and data, and each other's artefacts."""

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from avvp_jax.data.prepared import open_dataset, spec_of, stays_on_disk
from avvp_jax.data.splits import Split, load_split
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.reports.writers import Writer, make_writer
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.storage.writing import absolute
from avvp_jax.training.checkpoints import restore_best
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.selection import Best

if TYPE_CHECKING:
    from avvp_jax.training.stages import Stage


@dataclasses.dataclass
class Run:
    """What stages share: the config, the data, and each other's artefacts.

    Attributes:
      stages: all stages of the method, in order.
      start: gives initial variables for every training stage, instead of drawn ones.
      seeds: the independent runs that train together.
      splits: of the data set, those that have been read.
    """

    config: ConfigDict
    workdir: str
    stages: "list[Stage]"
    start: Callable[[], Variables | None] = lambda: None
    seeds: Sequence[int] = ()
    splits: dict[str, Split] = dataclasses.field(default_factory=dict)
    _models: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.seeds = self.seeds or all_seeds(self.config)

    def with_seeds(self, seeds: Sequence[int]) -> "Run":
        """This run for some of its seeds, with the same data and writer."""
        run = copy.copy(self)
        run.seeds, run._models = seeds, {}
        return run

    @functools.cached_property
    def writer(self) -> Writer:
        """Where numbers go; nothing is written before the first use."""
        return make_writer(self.workdir)

    @functools.cached_property
    def dataset(self):
        """The prepared data set."""
        return open_dataset(self.config.data)

    @property
    def train(self) -> Split:
        return self.split("train")

    @property
    def val(self) -> Split:
        return self.split("val")

    def split(self, name: str) -> Split:
        """A split of the data set, read once."""
        if name not in self.splits:
            self.splits[name] = configured_split(self.config, self.dataset, name)
        return self.splits[name]

    @property
    def mesh(self) -> Mesh:
        """The devices that its seeds share."""
        return make_mesh(len(self.seeds), **self.config.mesh)

    @property
    def options(self) -> ConfigDict:
        """The config's section of the method."""
        return self.config[self.config.method]

    def folder(self, stage: str) -> str:
        """Where a stage leaves its artefact; groups of seeds have folders of their own."""
        return os.path.join(absolute(self.workdir), stage, self.scope).rstrip("/")

    def file(self, stage: str, name: str, index: int) -> str:
        """The path of a seed's file of a stage; its name has the seed where there are several."""
        stem, ending = os.path.splitext(name)
        if self.config.num_seeds > 1:
            name = f"{stem}_{self.seeds[index]}{ending}"
        return os.path.join(self.folder(stage), name)

    def artefact(self, stage: str, name: str, index: int) -> str:
        """The path of a seed's file that an earlier stage leaves."""
        path = self.file(stage, name, index)
        if not epath.Path(path).exists():
            raise UserError(f"{path} is not there yet; run stage {stage} first")
        return path

    @property
    def scope(self) -> str:
        """What goes before the names of what a group of seeds logs; nothing without groups."""
        if list(self.seeds) == all_seeds(self.config):
            return ""
        return f"seeds_{self.seeds[0]}-{self.seeds[-1]}/"

    def models(self, stage: str) -> tuple[Network, Best]:
        """The network and the seeds' best models of an earlier training stage, read once."""
        place = ("models", stage)
        if place not in self._models:
            self._models[place] = self._read_models(stage)
        return self._models[place]

    def predictor(self, stage: str) -> Predictor:
        """What predicts with any seed's model of an earlier training stage, compiled once."""
        place = ("predictor", stage)
        if place not in self._models:
            self._models[place] = make_predictor(self.config, self.models(stage)[0])
        return self._models[place]

    def _read_models(self, stage: str) -> tuple[Network, Best]:
        chosen = next(s for s in self.stages if s.name == stage)
        if not chosen.finished(self):
            raise UserError(f"{self.folder(stage)}: stage {stage} is not finished; run it first")
        network = chosen.result_network(self.config)
        return network, restore_best(self.folder(stage), chosen.best(self.config, len(self.seeds)))


def all_seeds(config: ConfigDict) -> list[int]:
    """The seeds of a config: `seed` and those after it."""
    return list(range(config.seed, config.seed + config.num_seeds))


def groups(seeds: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """The seeds in groups of `at_once` that train together."""
    return [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]


def configured_split(config: ConfigDict, dataset, name: str) -> Split:
    """A split of a prepared data set, its features in memory or on disk."""
    stored = stays_on_disk(config.data, dataset)
    split = load_split(dataset, name, spec_of(dataset, config.data.streams), stored=stored)
    refuse_differences({f"the data set's split {name}": split.ids})
    return split


def make_predictor(config: ConfigDict, network: Network) -> Predictor:
    """What gives probabilities to videos with any seed's variables, on all devices."""
    mesh = make_mesh(**config.mesh)
    return Predictor(network, config.eval.video_filter, config.eval.batch_size, mesh)
