"""A method is a list of stages; each leaves an artefact in the work directory.

A stage whose artefact is complete is skipped, and one that was interrupted goes on.
The stages themselves, and what is particular to a method, are in methods/.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from avvp_jax.data.splits import stream_widths
from avvp_jax.errors import UserError, is_temporary, unreadable_now, warn
from avvp_jax.interchange.layouts import Layout
from avvp_jax.nn.functional import Network, Variables, parser_network
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import make_folder, set_aside
from avvp_jax.task import LLP
from avvp_jax.training.checkpoints import is_finished
from avvp_jax.training.fit import fit
from avvp_jax.training.run import Run, all_seeds
from avvp_jax.training.selection import Best, diverged, no_best, of_seeds
from avvp_jax.training.trainer import Loss


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
    section: str = ""
    layout: Layout | None = None
    network: Callable[[ConfigDict], Network] | None = None
    result: Callable[[ConfigDict], Network] | None = None
    keep: Callable[[Variables], Variables] = lambda variables: variables

    def settings(self, config: ConfigDict) -> ConfigDict:
        """The config as this stage has it."""
        changes = config[self.section].to_dict() if self.section else {}
        return ConfigDict(_merged(_merged(config.to_dict(), changes), {"model": self.model}))

    def trained_network(self, config: ConfigDict) -> Network:
        """The network that trains."""
        config = self.settings(config)
        return self.network(config) if self.network else configured_parser(config)

    def result_network(self, config: ConfigDict) -> Network:
        """The network whose variables the stage leaves."""
        return self.result(self.settings(config)) if self.result else self.trained_network(config)

    def best(self, config: ConfigDict, seeds: int) -> Best:
        """The shapes of the best models of so many seeds."""
        shapes = self.result_network(config).shapes()
        return of_seeds(no_best(shapes, self.settings(config).eval.select), seeds)

    def finished(self, run: Run) -> bool:
        train = self.settings(run.config).train
        steps = train.epochs * -(-len(run.train) // train.batch_size)
        best, folder = self.best(run.config, len(run.seeds)), run.folder(self.name)
        return bool(processes.as_the_first(processes.first() and is_finished(folder, steps, best)))

    def run(self, run: Run) -> None:
        """Trains, or goes on training."""
        several = sum(isinstance(stage, Training) for stage in run.stages) > 1
        seeds = range(len(run.seeds))
        own = [self.own(run, index) for index in seeds] if self.own else []
        fit(
            self.settings(run.config),
            run.folder(self.name),
            self.trained_network(run.config),
            self.loss,
            self.arrays(run),
            run.train,
            run.val,
            run.writer,
            seeds=run.seeds,
            stopped=self._stopped_before(run),
            mesh=run.mesh,
            own=jax.tree.map(lambda *each: np.stack(each), *own) if own else None,
            start=run.start,
            scope=run.scope + (f"{self.name}/" if several else ""),
            result=self.result_network(run.config),
            keep=self.keep,
        )

    def _stopped_before(self, run: Run) -> list[bool]:
        """Which seeds have diverged in an earlier stage, and take no part in this one."""
        earlier = run.stages[: [stage.name for stage in run.stages].index(self.name)]
        stopped = np.zeros(len(run.seeds), bool)
        for stage in earlier if run.config.num_seeds > 1 else ():
            if isinstance(stage, Training):
                stopped |= np.asarray(diverged(run.models(stage.name)[1]))
        return stopped.tolist()


def _merged(values: dict, changes: dict) -> dict:
    """Nested values with some exchanged; a learning rate for each network may become one."""

    def merged(old, new):
        return _merged(old, new) if isinstance(old, dict) and isinstance(new, dict) else new

    return values | {key: merged(values[key], new) for key, new in changes.items()}


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A stage that computes one file.

    Attributes:
      name: of the stage and of its folder.
      file: what it leaves there for each seed.
      make: computes the file of the seed with an index and writes it to a path, whole or
        not at all.
      read: reads the file of the seed with an index; a damaged one is made anew.
      report: it is one file for all seeds, and made anew every time.
    """

    name: str
    file: str
    make: Callable[[Run, str, int], None]
    read: Callable[[Run, int], object] | None = None
    report: bool = False

    def _missing(self, run: Run) -> list[tuple[int, str]]:
        if self.report:
            every = all_seeds(run.config)
            path = os.path.join(run.with_seeds(every).folder(self.name), self.file)
            return [(0, path)] if run.seeds[0] == every[0] else []
        paths = [run.file(self.name, self.file, index) for index in range(len(run.seeds))]
        missing = [self._is_missing(run, path, index) for index, path in enumerate(paths)]
        missing = processes.as_the_first(missing)
        return [(index, path) for index, path in enumerate(paths) if missing[index]]

    def _is_missing(self, run: Run, path: str, index: int) -> bool:
        """Whether a file is not there, or was damaged and is set aside; told by the first."""
        if not processes.first() or not epath.Path(path).exists():
            return True
        try:
            self.read(run, index)
        except UserError as damage:
            if is_temporary(damage):
                raise unreadable_now(path, damage) from damage
            warn(f"{damage}; set aside as {set_aside(path)}, and made anew")
            return True
        return False

    def finished(self, run: Run) -> bool:
        return not self._missing(run)

    def run(self, run: Run) -> None:
        """Computes the files that are not there yet."""
        for index, path in self._missing(run):
            make_folder(os.path.dirname(path))
            if run.config.num_seeds > 1 and not self.report:
                print(f"{self.name}: seed {run.seeds[index]}", flush=True)
            self.make(run, path, index)
            processes.meet()  # the next stage reads it


Stage = Training | Artefact


def refuse_gaps(run: Run) -> None:
    """Refuses to start a stage before the one that it goes on from.

    Raises:
      UserError: names the stage that is missing.
    """
    wanted = chosen_stages(run.config, run.stages)
    needed = [stage for stage in run.stages if not getattr(stage, "report", False)]
    for before, stage in itertools.pairwise(needed):
        if stage in wanted and before not in wanted and not stage.finished(run):
            if not before.finished(run):
                raise UserError(
                    f"config.stages={run.config.stages!r}: {stage.name} needs what {before.name} "
                    f"leaves in {run.workdir}, which is not finished; run {before.name} first"
                )


def run_stages(run: Run) -> None:
    """Runs the stages that the work directory lacks, of those that `config.stages` asks for."""
    wanted = chosen_stages(run.config, run.stages)
    for stage in wanted:
        if stage.finished(run):
            print(f"{stage.name}: finished before", flush=True)
        else:
            if len(run.stages) > 1:
                print(f"{stage.name}: starting", flush=True)
            stage.run(run)


def chosen_stages(config: ConfigDict, stages: list[Stage]) -> list[Stage]:
    """The stages named by `config.stages`, all if it is empty, in the method's order."""
    known, asked = [stage.name for stage in stages], names(config.stages)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UserError(
            f"config.stages names {', '.join(unknown)}; {config.method} has {', '.join(known)}"
        )
    return [stage for stage in stages if not asked or stage.name in asked]


def names(value: tuple[str, ...]) -> list[str]:
    """Names in a config's tuple, which the command line also gives as one text with commas."""
    return [name.strip() for item in value for name in str(item).split(",") if name.strip()]


def final_stage(config: ConfigDict, stages: list[Stage]) -> Training:
    """The stage whose model is evaluated: `config.eval.stage`, or the method's last."""
    trained = {stage.name: stage for stage in stages if isinstance(stage, Training)}
    name = config.eval.stage or stages[-1].name
    if name not in trained:
        raise UserError(f"config.eval.stage={name!r}: {config.method} trains {', '.join(trained)}")
    return trained[name]


def configured_parser(config: ConfigDict) -> Network:
    """The parser of `config.model`."""
    return parser_network(
        stream_widths(config.data.streams), len(LLP.classes), config.model.to_dict()
    )
