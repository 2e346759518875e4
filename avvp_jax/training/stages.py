"""A stage that trains a network.

A finished stage is skipped, and an interrupted one resumes. Each method defines its stages in
methods/.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.interchange.layouts import Layout, Reader, read_given
from avvp_jax.metrics.events import Decision
from avvp_jax.nn.functional import Network, Variables, make_network
from avvp_jax.nn.parser import Parser
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.streams import DataSpec
from avvp_jax.task import Task
from avvp_jax.training.checkpoints import is_finished, restore_best
from avvp_jax.training.fit import fit
from avvp_jax.training.job import Data, Job, Model
from avvp_jax.training.run import Run, no_start, options_of
from avvp_jax.training.selection import Best, add_seeds_axis, diverged, no_best, usable
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import Loss


def no_demands(run: Run) -> None:
    """Accepts any data."""


class Tokens(NamedTuple):
    """What the layers of a network store numbers of, for one clip.

    Attributes:
      count: how many tokens there are.
      attended: to how many of them each attends, in itself or in the other modality.
      width: numbers in one.
    """

    count: int
    attended: int
    width: int


def tokens_of_segments(config: ConfigDict, spec: DataSpec) -> Tokens:
    """Those of a network with a token for each segment of both modalities."""
    segments = spec.task.segments
    return Tokens(2 * segments, segments, config.model.width)


@dataclasses.dataclass(frozen=True)
class Training:
    """A stage that trains a network from scratch.

    Attributes:
      name: of the stage and of its folder.
      loss: see methods/han/stages.py.
      arrays: returns what batches hold in addition to features, the same for all seeds.
      model: values that replace those of `config.model` in this stage.
      own: returns those that differ between seeds, for the seed with a given index.
      demands: raises UserError if the stage cannot train on the data, or on a file that the
        config names. Called before anything is written.
      section: section of the config whose values replace those of the whole config in this
        stage; empty for none.
      layout: published layout of the result; None is the method's. A stage with another does not
        start from the model that `config.init_from` names, which is one of the method's.
      network: builds the network that is trained; None is the parser of `config.model`.
      result: builds the parser that results; None is the network that is trained.
      keep: converts the trained variables to those of the result.
      tokens: what the network's layers store numbers of, by which memory is estimated.
      given: as Layout.given: the variables of the network that are not drawn when training begins.
      fixed_epoch: config -> the epoch whose model is kept beside the best, whatever its scores.
      decision: (config, task, work directory, seed) -> how a seed's model decides, where it has
        thresholds of its own; None is by `config.eval`. Without a work directory and a seed, only
        by files that the config names.
    """

    name: str
    loss: Loss
    arrays: Callable[[Run], BatchArrays]
    model: dict = dataclasses.field(default_factory=dict)
    own: Callable[[Run, int], BatchArrays] | None = None
    demands: Callable[[Run], None] = no_demands
    section: str = ""
    layout: Layout | None = None
    network: Callable[[ConfigDict, DataSpec], Network] | None = None
    result: Callable[[ConfigDict, DataSpec], Network] | None = None
    keep: Callable[[Variables], Variables] = lambda variables: variables
    tokens: Callable[[ConfigDict, DataSpec], Tokens] = tokens_of_segments
    given: Mapping[str, Reader] = dataclasses.field(default_factory=dict)
    fixed_epoch: Callable[[ConfigDict], int] = lambda config: 0
    decision: Callable[[ConfigDict, Task, str | None, int | None], Decision | None] = lambda *_: (
        None
    )

    def settings(self, config: ConfigDict) -> ConfigDict:
        """The config with this stage's changes."""
        changes = config[self.section].to_dict() if self.section else {}
        return ConfigDict(_merge(_merge(config.to_dict(), changes), {"model": self.model}))

    def selects_by(self, config: ConfigDict, val: Split) -> tuple[str, ...]:
        """The scores on val by which models are selected; see selection.usable."""
        evaluation = self.settings(config).eval
        return usable(evaluation.select, val.truth is not None, evaluation.video_filter)

    def trained_network(self, config: ConfigDict, spec: DataSpec) -> Network:
        """The network that is trained."""
        build = self.network or configured(Parser)
        return build(self.settings(config), spec)

    def result_network(self, config: ConfigDict, spec: DataSpec) -> Network:
        """The network of the best models that the stage stores."""
        build = self.result or self.network or configured(Parser)
        return build(self.settings(config), spec)

    def best(self, config: ConfigDict, spec: DataSpec, seeds: int) -> Best:
        """The shapes of the best models of `seeds` seeds."""
        shapes = self.result_network(config, spec).shapes()
        return add_seeds_axis(self.no_best(config, shapes), seeds)

    def no_best(self, config: ConfigDict, variables: Variables) -> Best:
        """The best model of one seed before the first epoch, or its shapes."""
        select = self.settings(config).eval.select
        return no_best(variables, select, self.fixed_epoch(self.settings(config)) > 0)

    def models(self, run: Run) -> Best:
        """The stored best models of all seeds of a run.

        Raises:
          UserError: the stage is not finished.
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
        """Trains, or resumes training."""
        fit(self.job(run), writer)

    def job(self, run: Run) -> Job:
        """The job that describes this training.

        Raises:
          UserError: a file of an earlier stage is missing or damaged.
        """
        several = sum(isinstance(stage, Training) for stage in run.stages) > 1
        trained, result = (
            build(run.config, run.spec) for build in (self.trained_network, self.result_network)
        )
        settings = self.settings(run.config)
        with settings.ignore_type():  # one name may be text or a tuple
            settings.eval.select = self.selects_by(run.config, run.data.val)
        return Job(
            settings,
            run.folder(self.name),
            Model(trained, self.loss, result, self.keep),
            Data(run.train, run.data.val, self._arrays(run), self._own_arrays(run)),
            run.seeds,
            run.mesh,
            stopped=self._stopped_before(run),
            start=run.start if self.layout is None else no_start,
            given=lambda: read_given(self.given, trained, options_of(run.config), run.spec.task),
            scope=run.scope + (f"{self.name}/" if several else ""),
            fixed_epoch=self.fixed_epoch(settings),
        )

    def _arrays(self, run: Run) -> BatchArrays:
        """The arrays of all seeds; lengths are among them where clips are short, see time_mask."""
        lengths = run.train.lengths
        mask = {} if lengths is None else {"lengths": np.asarray(lengths, np.int32)}
        return self.arrays(run) | BatchArrays(mask)

    def _own_arrays(self, run: Run) -> BatchArrays:
        """Each seed's own arrays, with a leading axis of seeds."""
        if self.own is None:
            return BatchArrays()
        own = [self.own(run, index) for index in range(len(run.seeds))]
        return jax.tree.map(lambda *each: np.stack(each), *own)

    def _stopped_before(self, run: Run) -> list[bool]:
        """For each seed, whether it diverged in an earlier stage; it does not train in this one."""
        earlier = run.stages[: [stage.name for stage in run.stages].index(self.name)]
        stopped = np.zeros(len(run.seeds), bool)
        for stage in earlier if run.several else ():
            if isinstance(stage, Training):
                stopped |= np.asarray(diverged(stage.models(run)))
        return stopped.tolist()


def _merge(values: dict, changes: dict) -> dict:
    """Nested values with changes applied; a single learning rate may replace a dict of them."""

    def merged(old, new):
        return _merge(old, new) if isinstance(old, dict) and isinstance(new, dict) else new

    return values | {key: merged(values[key], new) for key, new in changes.items()}


@functools.cache
def configured(parser: type[nnx.Module]) -> Callable[[ConfigDict, DataSpec], Network]:
    """Builds a kind of parser with the values of `config.model`."""

    def build(config: ConfigDict, spec: DataSpec) -> Network:
        return make_network(parser, spec.widths, len(spec.task.classes), **config.model.to_dict())

    return build
