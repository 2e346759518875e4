"""The plan of a training run. All inputs are read and checked before anything is written."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.experiment.making import making_of
from avvp_jax.experiment.memory import refuse_too_large, seeds_at_once
from avvp_jax.experiment.records import (
    has_begun,
    recall_content,
    recall_spec,
    refuse_other_config,
    refuse_other_files,
)
from avvp_jax.experiment.weights import (
    pick,
    published_path,
    read_all_weights,
    refuse_other_data,
    spec_of_weights,
)
from avvp_jax.methods import layout_of, stages_of
from avvp_jax.metrics.video_scores import VIDEO_NAMES
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime import processes
from avvp_jax.task import MOST_SEGMENTS, Task
from avvp_jax.training.run import Run, Stage, all_seeds, options_of, seed_groups
from avvp_jax.training.selection import names_for
from avvp_jax.training.sequence import chosen_stages, final_stage, names, refuse_gaps
from avvp_jax.training.stages import Training


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training run will do.

    Attributes:
      config: a copy of the given one, with `seeds_at_once` decided.
      workdir: the work directory.
      data: the prepared data set.
      wanted: the stages that were asked for, in order.
      runs: a run for each group of seeds that train together, in order.
      finished: the wanted stages that are already finished, as (index of the group, stage).
      final: the stage whose model is the result.
      splits: the splits to score that model on.
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
    """Plans a training run, with all checks that can be made beforehand.

    Raises:
      UserError: the config, the work directory, the data, or a file that a stage reads is not
        usable.
    """
    refuse_unknown_seed(config)
    # A larger number makes the same group, but would be recorded as another config.
    config = _copy_with(config, seeds_at_once=min(config.seeds_at_once, config.num_seeds))
    begun = has_begun(workdir)
    if begun:
        refuse_other_config(config, workdir)
    stages = stages_of(config)
    wanted, final = chosen_stages(config, stages), final_stage(config, stages)
    start = starting_point(config, stages, final)
    # A resumed run only reads its starting point if a stage has not begun yet.
    if not begun:
        start()
    making = making_of(config, None if begun else workdir)
    data = Dataset(config.data, recall_content(workdir) if begun else None, making)
    check_task(data.spec.task)
    check_splits(config, data)
    if begun:
        refuse_other_data(recall_spec(workdir), data.spec, workdir)
        refuse_other_files(workdir, data.origin)
    elif config.init_from:
        refuse_other_data(spec_of_weights(config, config.init_from), data.spec, config.init_from)
    everything = Run(config, workdir, stages, data, all_seeds(config), start)
    # Every process reads here what only the first may look at later.
    splits = [data.split(name) for name in ("train", *asked_splits(config, data))][1:]
    refuse_other_inputs(everything)
    config = _with_seeds_at_once(everything, wanted)
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
    trainings = [stage for stage in wanted if isinstance(stage, Training)]
    every = itertools.product(range(len(runs)), (stage.name for stage in trainings))
    if not finished.issuperset(every):
        _check_val(config, data.val, trainings)
    return Plan(config, workdir, data, wanted, runs, finished, final, splits)


def _copy_with(config: ConfigDict, **values) -> ConfigDict:
    """A copy of a config with some values changed, and its keys in the same order."""
    changed = config.copy_and_resolve_references()
    changed.update(values)
    return changed


def refuse_unknown_seed(config: ConfigDict) -> None:
    """Checks that `config.pick_seed` is a seed of the run.

    Raises:
      UserError: it is not; names the seeds of the run.
    """
    seeds = all_seeds(config)
    if config.pick_seed not in (-1, *seeds):
        known = ", ".join(map(str, seeds))
        raise UserError(f"config.pick_seed={config.pick_seed}: the seeds of this run are {known}")


def starting_point(
    config: ConfigDict, stages: Sequence[Stage], final: Training
) -> Callable[[], Variables | None]:
    """A function that returns the variables of `config.init_from`, or None if that is empty.

    It reads them at its first call only.

    Raises:
      UserError: the method's training cannot start from a finished model.
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
        refuse_given_twice(config, final)
        spec = spec_of_weights(config, config.init_from)
        network = final.result_network(config, spec)
        # `pick_seed` names a seed of this run, so of several seeds there the best is taken.
        return pick(read_all_weights(config.init_from, network, config), -1).variables

    return start


def refuse_given_twice(config: ConfigDict, final: Training) -> None:
    """Checks that no file gives what the run of `config.init_from` has too, and starts from.

    Raises:
      UserError: one does; names it.
    """
    layout = layout_of(config, final)
    files = [name for name in layout.given if options_of(config)[name]]
    if files and published_path(config.init_from, [layout]) is None:
        raise UserError(
            f"config.init_from={config.init_from}: a run has its own {files[0]}, which training "
            f"goes on with; leave config.{config.method}.{files[0]} empty"
        )


def check_task(task: Task) -> None:
    """Checks that networks can be made for a task; features can be, of longer clips too.

    Raises:
      UserError: its clips have too many segments.
    """
    if task.segments > MOST_SEGMENTS:
        raise UserError(
            f"the data set's clips have {task.segments} segments; networks are made for up to "
            f"{MOST_SEGMENTS}: cut videos into shorter clips, or let a segment last longer than "
            f"{task.seconds:g} s"
        )


def check_splits(config: ConfigDict, data: Dataset) -> None:
    """Checks that the splits can be scored, before any time is spent on a model.

    Raises:
      UserError: one cannot; names it, and the splits that can.
    """
    if asked_splits(config, data) != names(config.eval.splits) and processes.first():
        print("there is no test split: it is left out", flush=True)
    for name in asked_splits(config, data):
        if name not in data.held_out:
            raise UserError(
                f"config.eval.splits names {name!r}, which has no dense annotations to score "
                f"with, nor labels that were held out; use {', '.join(data.held_out)}"
            )


def asked_splits(config: ConfigDict, data: Dataset) -> list[str]:
    """The names in `config.eval.splits`; without test where a data set has none, but others."""
    asked = names(config.eval.splits)
    there = [name for name in asked if name != "test" or name in data.names]
    return there or asked


def _check_val(config: ConfigDict, val: Split, trainings: Sequence[Training]) -> None:
    """Checks that val can select the best model.

    Raises:
      UserError: scores of whole videos are to, and it has no label.
    """
    for stage in trainings:
        asked = stage.selects_by(config, val)
        if set(VIDEO_NAMES) <= set(names_for(asked, val.truth is not None)):
            if not val.weak_label.any():
                raise UserError(
                    f"split {val.name} has no video with a label, so that {' and '.join(asked)} "
                    "selects no model; move labelled videos there"
                )


def refuse_other_inputs(run: Run) -> None:
    """Checks that the first training stage can use the data, and files that the config names.

    Raises:
      UserError: says what is missing or damaged.
    """
    first = next(stage for stage in run.stages if isinstance(stage, Training))
    first.demands(run)


def _with_seeds_at_once(run: Run, wanted: Sequence[Stage]) -> ConfigDict:
    """The config with `seeds_at_once` decided; memory may limit it.

    Raises:
      UserError: the networks do not fit.
    """
    trainings = [stage for stage in wanted if isinstance(stage, Training)]
    first = next(stage for stage in run.stages if isinstance(stage, Training))
    at_once = processes.as_the_first(seeds_at_once(run, trainings or [first]))
    config = _copy_with(run.config, seeds_at_once=at_once)
    refuse_too_large(dataclasses.replace(run, config=config), trainings)
    return config
