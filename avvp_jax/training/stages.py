"""A stage that trains a network.

One that is finished is skipped, and one that was interrupted goes on. The stages themselves,
and what is particular to a method, are in methods/.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.interchange.layouts import Layout
from avvp_jax.nn.functional import Network, Variables, parser_network
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.streams import DataSpec
from avvp_jax.training.checkpoints import is_finished, restore_best
from avvp_jax.training.fit import fit
from avvp_jax.training.run import Run
from avvp_jax.training.selection import Best, diverged, no_best, of_seeds
from avvp_jax.training.trainer import Loss


def no_demands(run: Run) -> None:
    """Any data will do."""


@dataclasses.dataclass(frozen=True)
class Training:
    """A stage that trains a network from scratch.

    Attributes:
      name: of the stage and of its folder.
      loss: see methods/han/stages.py.
      arrays: gives what a batch holds beside features: "videos", arrays with an entry
        for each training video, and "shared", arrays that every batch sees whole.
      model: what differs from `config.model`.
      own: gives the seed with an index what it has for itself of these.
      demands: refuses data, or somebody else's file, that it could not train on; asked before
        anything is written.
      section: of the config, whose values replace the config's own in this stage.
      layout: the published layout of the result, where it is not the method's own.
      network: what trains, where that is not the parser of `config.model`.
      result: the parser that results, where that is not what trains.
      keep: makes the result's variables of the trained ones.
    """

    name: str
    loss: Loss
    arrays: Callable[[Run], dict]
    model: dict = dataclasses.field(default_factory=dict)
    own: Callable[[Run, int], dict] | None = None
    demands: Callable[[Run], None] = no_demands
    section: str = ""
    layout: Layout | None = None
    network: Callable[[ConfigDict, DataSpec], Network] | None = None
    result: Callable[[ConfigDict, DataSpec], Network] | None = None
    keep: Callable[[Variables], Variables] = lambda variables: variables

    def settings(self, config: ConfigDict) -> ConfigDict:
        """The config as this stage has it."""
        changes = config[self.section].to_dict() if self.section else {}
        return ConfigDict(_merged(_merged(config.to_dict(), changes), {"model": self.model}))

    def trained_network(self, config: ConfigDict, spec: DataSpec) -> Network:
        """The network that trains."""
        build = self.network or configured_parser
        return build(self.settings(config), spec)

    def result_network(self, config: ConfigDict, spec: DataSpec) -> Network:
        """The network whose variables the stage leaves."""
        build = self.result or self.network or configured_parser
        return build(self.settings(config), spec)

    def best(self, config: ConfigDict, spec: DataSpec, seeds: int) -> Best:
        """The shapes of the best models of so many seeds."""
        shapes = self.result_network(config, spec).shapes()
        return of_seeds(no_best(shapes, self.settings(config).eval.select), seeds)

    def models(self, run: Run) -> Best:
        """The best models that it has left, of all seeds of a run.

        Raises:
          UserError: it is not finished.
        """
        folder = run.folder(self.name)
        if not self.finished(run):
            raise UserError(f"{folder}: stage {self.name} is not finished; run it first")
        return restore_best(folder, self.best(run.config, run.spec, len(run.seeds)))

    def finished(self, run: Run) -> bool:
        train = self.settings(run.config).train
        steps = train.epochs * -(-len(run.train) // train.batch_size)
        best = self.best(run.config, run.spec, len(run.seeds))
        folder = run.folder(self.name)
        return bool(processes.as_the_first(processes.first() and is_finished(folder, steps, best)))

    def run(self, run: Run, writer: Writer) -> None:
        """Trains, or goes on training."""
        several = sum(isinstance(stage, Training) for stage in run.stages) > 1
        seeds = range(len(run.seeds))
        own = [self.own(run, index) for index in seeds] if self.own else []
        fit(
            self.settings(run.config),
            run.folder(self.name),
            self.trained_network(run.config, run.spec),
            self.loss,
            self.arrays(run),
            run.train,
            run.data.val,
            writer,
            seeds=run.seeds,
            stopped=self._stopped_before(run),
            mesh=run.mesh,
            own=jax.tree.map(lambda *each: np.stack(each), *own) if own else None,
            start=run.start,
            scope=run.scope + (f"{self.name}/" if several else ""),
            result=self.result_network(run.config, run.spec),
            keep=self.keep,
        )

    def _stopped_before(self, run: Run) -> list[bool]:
        """Which seeds have diverged in an earlier stage, and take no part in this one."""
        earlier = run.stages[: [stage.name for stage in run.stages].index(self.name)]
        stopped = np.zeros(len(run.seeds), bool)
        for stage in earlier if run.several else ():
            if isinstance(stage, Training):
                stopped |= np.asarray(diverged(stage.models(run)))
        return stopped.tolist()


def _merged(values: dict, changes: dict) -> dict:
    """Nested values with some exchanged; a learning rate for each network may become one."""

    def merged(old, new):
        return _merged(old, new) if isinstance(old, dict) and isinstance(new, dict) else new

    return values | {key: merged(values[key], new) for key, new in changes.items()}


def configured_parser(config: ConfigDict, spec: DataSpec) -> Network:
    """The parser of `config.model`."""
    return parser_network(spec.widths, len(spec.task.classes), config.model.to_dict())
