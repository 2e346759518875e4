"""A training, planned: everything that is to be read and refused before anything is written."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.experiment.memory import refuse_too_large, seeds_at_once
from avvp_jax.experiment.records import has_begun, refuse_other_config
from avvp_jax.experiment.weights import pick, read_all_weights, refuse_other_data, spec_of_weights
from avvp_jax.methods import stages_of
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime import processes
from avvp_jax.training.run import Run, Stage, all_seeds, seed_groups
from avvp_jax.training.sequence import chosen_stages, final_stage, names, refuse_gaps
from avvp_jax.training.stages import Training


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
      config: a copy of the given one, with the number of seeds at once decided.
      workdir: where it goes.
      data: the prepared data set.
      wanted: the stages that were asked for, in order.
      runs: a run for each group of seeds that train together, in order.
      finished: the wanted stages that are finished already, as (group, name of the stage).
      final: the stage whose model is the result.
      splits: what that model is scored on.
    """

    config: ConfigDict
    workdir: str
    data: Dataset
    wanted: Sequence[Stage]
    runs: Sequence[Run]
    finished: frozenset[tuple[int, str]]
    final: Training
    splits: Sequence[Split]


def make_plan(config: ConfigDict, workdir: str) -> Plan:
    """The plan of a training, with every refusal that can be known beforehand.

    Raises:
      UserError: the config, the work directory, the data, or what stages are given does not do.
    """
    refuse_unknown_seed(config)
    # More seeds at once than there are make the same group.
    config = _changed(config, seeds_at_once=min(config.seeds_at_once, config.num_seeds))
    begun = has_begun(workdir)
    if begun:
        refuse_other_config(config, workdir)
    stages = stages_of(config)
    wanted, final = chosen_stages(config, stages), final_stage(config, stages)
    start = starting_point(config, stages, final)
    # A run that goes on needs its start no more, but for stages that have not begun.
    if not begun:
        start()
    data = Dataset(config.data)
    check_splits(config, data)
    if config.init_from and not begun:
        refuse_other_data(spec_of_weights(config, config.init_from), data.spec, config.init_from)
    everything = Run(config, workdir, stages, data, all_seeds(config), start)
    splits = [data.split(name) for name in names(config.eval.splits)]
    refuse_other_inputs(everything)
    config = _with_groups(everything, wanted)
    runs = [
        dataclasses.replace(everything, config=config, seeds=seeds)
        for seeds in seed_groups(everything.seeds, config.seeds_at_once)
    ]
    for run in runs:
        refuse_gaps(run, wanted)
    finished = frozenset(
        (group, stage.name)
        for group, run in enumerate(runs)
        for stage in wanted
        if stage.finished(run)
    )
    return Plan(config, workdir, data, wanted, runs, finished, final, splits)


def _changed(config: ConfigDict, **values) -> ConfigDict:
    """A copy of a config with some values exchanged, its keys in the same order."""
    changed = config.copy_and_resolve_references()
    changed.update(values)
    return changed


def refuse_unknown_seed(config: ConfigDict) -> None:
    """Refuses to pick the model of a seed that does not train.

    Raises:
      UserError: names the seeds that do.
    """
    seeds = all_seeds(config)
    if config.pick_seed not in (-1, *seeds):
        known = ", ".join(map(str, seeds))
        raise UserError(f"config.pick_seed={config.pick_seed}: the seeds of this run are {known}")


def starting_point(
    config: ConfigDict, stages: Sequence[Stage], final: Training
) -> Callable[[], Variables | None]:
    """What gives the variables of `config.init_from`, read once, or None where it is empty.

    Raises:
      UserError: no training of the method can start from a finished model.
    """
    given = bool(config.init_from)
    if given and any(isinstance(stage, Training) and stage.result for stage in stages):
        raise UserError(
            f"config.init_from={config.init_from}: {config.method} trains networks that a finished "
            "one does not hold, so that no training can start from it"
        )

    @functools.cache
    def start() -> Variables | None:
        if not given:
            return None
        spec = spec_of_weights(config, config.init_from)
        network = final.result_network(config, spec)
        # `pick_seed` is of this run's seeds: of several there, the best is taken.
        return pick(read_all_weights(config.init_from, network, config), -1).variables

    return start


def check_splits(config: ConfigDict, data: Dataset) -> None:
    """Refuses splits that cannot be scored, before any time is spent on a model.

    Raises:
      UserError: names the split, and those that can be.
    """
    for name in names(config.eval.splits):
        if name not in data.dense:
            raise UserError(
                f"config.eval.splits names {name!r}, which has no dense annotations to score "
                f"with; use {', '.join(data.dense)}"
            )


def refuse_other_inputs(run: Run) -> None:
    """Refuses data, and somebody else's files, that the first training could not use.

    Raises:
      UserError: says what is missing or damaged.
    """
    first = next(stage for stage in run.stages if isinstance(stage, Training))
    first.demands(run)


def _with_groups(run: Run, wanted: Sequence[Stage]) -> ConfigDict:
    """The config with the number of seeds that train together, which memory may limit.

    Raises:
      UserError: not even one fits.
    """
    trainings = [stage for stage in wanted if isinstance(stage, Training)]
    first = next(stage for stage in run.stages if isinstance(stage, Training))
    at_once = processes.as_the_first(seeds_at_once(run, trainings or [first]))
    config = _changed(run.config, seeds_at_once=at_once)
    refuse_too_large(config, run.spec, trainings)
    return config
