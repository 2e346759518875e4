"""A run: a config, its data, and the seeds that train together."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.metrics.events import Decision
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.storage.writing import absolute
from avvp_jax.streams import DataSpec
from avvp_jax.training.predictor import Predictor


def no_start() -> None:
    """None: initial variables are drawn."""


@runtime_checkable
class Stage(Protocol):
    """A stage of a method, which writes something to the work directory; see stages.py."""

    name: str

    def finished(self, run: "Run") -> bool:
        """Whether everything that the stage writes is there. Changes nothing."""

    def run(self, run: "Run", writer: Writer) -> None:
        """Runs the stage, or resumes it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The input of every stage: the config, the data, the seeds, and where files go.

    Attributes:
      config: of the experiment; nothing changes it.
      workdir: holds a folder for each stage.
      stages: all stages of the method, in order.
      data: the prepared data set.
      seeds: the seeds that train together: all seeds of the config, or a group of them.
      start: returns the initial variables of every training stage; None means that they are
        drawn.
    """

    config: ConfigDict
    workdir: str
    stages: Sequence[Stage]
    data: Dataset
    seeds: Sequence[int]
    start: Callable[[], Variables | None] = no_start

    @property
    def spec(self) -> DataSpec:
        return self.data.spec

    @property
    def train(self) -> Split:
        return self.data.train

    @property
    def mesh(self) -> Mesh:
        """The devices that the seeds share."""
        return make_mesh(len(self.seeds), **self.config.mesh)

    @property
    def options(self) -> ConfigDict:
        """The config's section of the method."""
        return self.config[self.config.method]

    @property
    def several(self) -> bool:
        """Whether the whole run, not just this group, has more than one seed."""
        return self.config.num_seeds > 1

    @property
    def scope(self) -> str:
        """Prefix of logged names for this group of seeds; empty if there is only one group."""
        return scope_of(self.config, self.seeds)

    def folder(self, stage: str) -> str:
        """The folder of a stage's files; each group of seeds has its own."""
        return stage_folder(self.workdir, stage, self.config, self.seeds)

    def file(self, stage: str, name: str, index: int) -> str:
        """The path of one seed's file of a stage; with several seeds, its name has the seed.

        Args:
          index: of the seed in `seeds`.
        """
        return file_of_seed(self.folder(stage), name, self.config, self.seeds[index])

    def artefact(self, stage: str, name: str, index: int) -> str:
        """The path of one seed's file from an earlier stage.

        Raises:
          UserError: the file does not exist.
        """
        path = self.file(stage, name, index)
        if not epath.Path(path).exists():
            raise UserError(f"{path} is not there yet; run stage {stage} first")
        return path


def whole_run(config: ConfigDict, workdir: str, stages: Sequence[Stage]) -> Run:
    """The run of all seeds of a config together."""
    return Run(config, workdir, stages, Dataset(config.data), all_seeds(config))


def all_seeds(config: ConfigDict) -> list[int]:
    """The seeds of a config: `num_seeds` consecutive numbers from `seed` on."""
    return list(range(config.seed, config.seed + config.num_seeds))


def seed_groups(seeds: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """The seeds in groups that train together, of `at_once` seeds each; the last may be smaller."""
    return [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]


def options_of(config: ConfigDict) -> dict[str, object]:
    """The values of the section of a config's method; none where it has no section."""
    return config.get(config.method, ConfigDict()).to_dict()


def scope_of(config: ConfigDict, seeds: Sequence[int]) -> str:
    """Prefix of logged names for a group of a config's seeds; empty for all of them."""
    if list(seeds) == all_seeds(config):
        return ""
    return f"seeds_{seeds[0]}-{seeds[-1]}/"


def stage_folder(workdir: str, stage: str, config: ConfigDict, seeds: Sequence[int]) -> str:
    """The folder of a stage's files for a group of a config's seeds."""
    return os.path.join(absolute(workdir), stage, scope_of(config, seeds)).rstrip("/")


def file_of_seed(folder: str, name: str, config: ConfigDict, seed: int) -> str:
    """The path of one seed's file in a stage's folder."""
    stem, ending = os.path.splitext(name)
    return os.path.join(folder, f"{stem}_{seed}{ending}" if config.num_seeds > 1 else name)


def left_by(config: ConfigDict, workdir: str, stage: str, name: str, seed: int) -> str:
    """The path of the file that a stage leaves for one of a config's seeds."""
    seeds = all_seeds(config)
    groups = seed_groups(seeds, config.seeds_at_once or len(seeds))
    group = next(group for group in groups if seed in group)
    return file_of_seed(stage_folder(workdir, stage, config, group), name, config, seed)


def make_predictor(config: ConfigDict, network: Network) -> Predictor:
    """A predictor for one seed's variables at a time, on all devices."""
    mesh = make_mesh(**config.mesh)
    return Predictor(network, decision_of(config), config.eval.batch_size, mesh)


def decision_of(config: ConfigDict) -> Decision:
    """How a model decides by `config.eval`, the same for all classes."""
    evaluation = config.eval
    thresholds = evaluation.segment_threshold, evaluation.video_threshold
    return Decision(evaluation.video_filter, *map(float, thresholds))
