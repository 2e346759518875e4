"""Reads trained variables, from a work directory or from published files."""

import dataclasses
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from avvp_jax.data.prepared import expected_spec
from avvp_jax.errors import UserError, first_ten, warn
from avvp_jax.experiment.records import has_begun, recall, recall_spec, records_a_run
from avvp_jax.experiment.schema import weightless
from avvp_jax.experiment.settings import value_of
from avvp_jax.interchange.folders import published_in
from avvp_jax.interchange.layouts import Layout, read_given
from avvp_jax.interchange.state_dicts import from_published, part_of
from avvp_jax.interchange.torch_files import read_published
from avvp_jax.methods import METHODS, layout_of, stages_of
from avvp_jax.metrics.events import Decision
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.runtime import processes
from avvp_jax.storage.reading import is_folder, is_there, odd_file
from avvp_jax.storage.writing import on_cloud
from avvp_jax.streams import STREAM_SETS, STREAMS, DataSpec
from avvp_jax.task import LLP, Task
from avvp_jax.training.checkpoints import restore_best
from avvp_jax.training.run import (
    all_seeds,
    decision_of,
    options_of,
    seed_groups,
    stage_folder,
)
from avvp_jax.training.selection import add_seeds_axis, take_fixed, take_seed
from avvp_jax.training.sequence import final_stage


class Leftover(NamedTuple):
    """The parts of a published file that our network does not use.

    Attributes:
      unused: name -> tensor of modules that are never called.
      rest: what the published file holds beside the state_dict; None if it is only that.
    """

    unused: Mapping[str, np.ndarray]
    rest: dict | None


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model's variables, and where they came from.

    Attributes:
      variables: of the network.
      epoch: the selected epoch, or one for each part of the model if the parts are selected
        separately; None for a published file.
      seed: of the run; None for a published file.
      score: on val, NaN if the run diverged; None for a published file.
      decision: how the model decides; None of a published file that is read alone.
      leftovers: part of the model -> the unused parts of its published file, kept for export.
      early: the model after a fixed epoch, where a run keeps one beside the best.
    """

    variables: Variables
    epoch: int | dict[str, int] | None = None
    seed: int | None = None
    score: float | None = None
    decision: Decision | None = None
    leftovers: Mapping[str, Leftover] = dataclasses.field(default_factory=dict)
    early: "Weights | None" = None

    @property
    def diverged(self) -> bool:
        """Whether training ended early, because loss or gradient was not finite."""
        return self.score is not None and math.isnan(self.score)

    @property
    def step(self) -> int:
        """The step to log at: the epoch, or the later one of two parts; 0 for a published file."""
        return max(jax.tree.leaves(self.epoch), default=0)


def read_weights(path: str, network: Network, config: ConfigDict, stage: str = "") -> Weights:
    """Reads the weights of `config.pick_seed`; see read_all_weights."""
    return pick(read_all_weights(path, network, config, stage), config.pick_seed)


def pick(weights: list[Weights], seed: int) -> Weights:
    """The weights of a seed; -1 picks the best on val. Published weights have no seed.

    Raises:
      UserError: there is no such seed, or all seeds have diverged.
    """
    if weights[0].seed is None:
        return weights[0]
    if seed < 0:
        usable = [each for each in weights if not each.diverged]
        if not usable:
            raise UserError(
                "every seed of this run has diverged; lower config.schedule.learning_rate and "
                "choose a new --workdir"
            )
        return max(usable, key=lambda each: each.score)
    for each in weights:
        if each.seed == seed:
            return each
    known = ", ".join(str(each.seed) for each in weights)
    raise UserError(f"config.pick_seed={seed}: the seeds of this run are {known}")


def read_all_weights(
    path: str,
    network: Network,
    config: ConfigDict,
    stage: str = "",
    decision: Decision | None = None,
) -> list[Weights]:
    """Reads the best models of all seeds in a work directory, or the model in a published `.pt`.

    Args:
      path: the work directory, the published file, or a folder that holds it.
      network: the network that the weights must fit.
      config: of this run.
      stage: a stage of the work directory's method; empty is its last.
      decision: how the models decide; None is by the files that the config names, by those that
        the work directory has for each seed, or by `config.eval`.

    Raises:
      UserError: there is no model, it is damaged, or it does not fit `network`.
    """
    layout, whole = _own_layout(config), METHODS[config.method].layout
    published = published_path(path, [layout])
    asked = final_stage(config, stages_of(config), stage)
    # Only these methods ask: the task of a folder of one's own takes time to read.
    task = spec_of_weights(config, path).task if whole.given or whole.chosen else LLP
    decision = decision or asked.decision(config, task, None, None)
    if published is None:
        found = _weights_of_workdir(path, network, config, stage, decision)
    else:
        given = read_given(layout.given, network, options_of(config), task)
        _warn_of_averages(published, layout, config.data.streams)
        found = [read_published_weights(published, network, layout, given)]
    usual = decision or decision_of(asked.settings(config))
    return [dataclasses.replace(one, decision=one.decision or usual) for one in found]


def _warn_of_averages(path: str, layout: Layout, streams: str) -> None:
    """Says so if a published model of all frames is to read their averages."""
    wanted, given = (
        any(STREAMS[name].keeps_frames for name in STREAM_SETS[key])
        for key in (layout.streams, streams)
    )
    if wanted and not given and processes.first():
        warn(
            f"{path} was trained on all frames of a segment, and config.data.streams={streams} has "
            f"their averages: what it says is another thing; give data with {layout.streams}"
        )


def _own_layout(config: ConfigDict) -> Layout:
    return layout_of(config, final_stage(config, stages_of(config)))


def published_path(path: str, layouts: Sequence[Layout], *, say: bool = True) -> str | None:
    """The published file, or what several have in common, that a path names; None: a run.

    A folder that is no work directory may hold the file; a line says which it is.

    Args:
      layouts: of the methods that it may be of.
      say: whether to print that line.

    Raises:
      UserError: a folder holds neither a run nor one published checkpoint.
    """
    if not is_folder(path):
        return path
    if on_cloud(path) or has_begun(path) or records_a_run(path):
        return None
    try:
        found = published_in(path, layouts)
    except UserError:
        if is_there(os.path.join(path, "config.json")) and records_a_run(path) is None:
            return None  # its damage is said where it is read
        raise
    if say:
        print(f"{path}: reading {os.path.relpath(found, path)}", file=sys.stderr)
    return found


def _weights_of_workdir(
    path: str, network: Network, config: ConfigDict, stage: str, given: Decision | None
) -> list[Weights]:
    source, task = recall(path), recall_spec(path).task
    left = final_stage(source, stages_of(source), stage)
    refuse_other_model(
        path, left.settings(source), final_stage(config, stages_of(config)).settings(config)
    )
    one = left.no_best(source, network.shapes())
    seeds, weights, judged = all_seeds(source), [], source.copy_and_resolve_references()
    judged.eval = config.eval  # by whose thresholds of segments its model is judged now
    for group in seed_groups(seeds, source.seeds_at_once or len(seeds)):
        folder = stage_folder(path, left.name, source, group)
        if odd := odd_file(folder):
            raise UserError(f"{odd}: is not a file; delete {folder} and train again")
        best = restore_best(folder, add_seeds_axis(one, len(group)))
        for index, seed in enumerate(group):
            variables, epoch, score = take_seed(best, index)
            decision = given or left.decision(judged, task, path, seed)
            early = None if best.fixed is None else Weights(*take_fixed(best, index))
            early = early if early and early.epoch else None  # 0: it diverged before
            weights.append(Weights(variables, epoch, seed, score, decision, early=early))
    return weights


def spec_of_weights(config: ConfigDict, path: str) -> DataSpec:
    """The task and streams that the weights at a path were trained for.

    A work directory records them. A published file is assumed to fit the config's data.

    Raises:
      UserError: the work directory is damaged, or the data cannot be prepared.
    """
    if published_path(path, [_own_layout(config)], say=False) is None:
        return recall_spec(path)
    return expected_spec(config.data)


def refuse_other_data(trained: DataSpec, given: DataSpec, path: str) -> None:
    """Checks that data has the task and widths that weights were trained for.

    Raises:
      UserError: it has not; says how they differ.
    """
    if trained.task != given.task:
        was, now = (f"{x.name}, {len(x.classes)} classes" for x in (trained.task, given.task))
        how = f" ({_unlike(trained.task, given.task)})" if was == now else ""
        raise UserError(
            f"{path} was trained for another task ({was}) than the data's ({now}){how}; give the "
            "data set that it was trained on"
        )
    if trained.widths != given.widths:
        raise UserError(
            f"{path} was trained on features {trained.widths} wide, and the data's are "
            f"{given.widths}; give the data set that it was trained on"
        )


def _unlike(was: Task, now: Task) -> str:
    """How two tasks of one name and as many classes differ, in words."""
    if was.classes == now.classes:
        clips = (f"{x.segments} segments of {x.seconds:g} s" for x in (now, was))
        return f"clips of {', not '.join(clips)}"
    if others := [name for name in now.classes if name not in was.classes]:
        return f"classes that it did not know: {first_ten(others)}"
    return "the classes stand in another order"


def refuse_other_model(path: str, trained: ConfigDict, asked: ConfigDict) -> None:
    """Checks that weights were trained with the same network.

    Their shapes are not enough: they do not show the number of heads, for example.

    Raises:
      UserError: names the first setting that differs.
    """
    settings = [f"model.{key}" for key in trained.model if key not in weightless(asked.method)]
    for key in (*settings, "data.streams"):
        was, now = value_of(trained, key), value_of(asked, key)
        if was != now:
            raise UserError(f"{path} was trained with config.{key}={was!r}, not {now!r}")


def read_published_weights(
    path: str, network: Network, layout: Layout, given: Mapping[str, np.ndarray]
) -> Weights:
    """Reads a method's published weights, from one `.pt` or several (see Layout.paths).

    Args:
      given: what the network is given beside its files, see Layout.given.
    """
    variables, leftovers = network.shapes(), {}
    for part, part_path in layout.paths(path).items():
        file = read_published(part_path)
        template = part_of(variables, part)
        values, unused = from_published(file.state, template, layout, part_path, given)
        if said := file.unwrapped.remark(layout.wrapped):
            print(f"{part_path}: read without {said}", file=sys.stderr)
        leftovers[part] = Leftover(unused, file.rest if layout.wrapped else None)
        for kind in variables:
            variables[kind] = variables[kind] | {part: values[kind]} if part else values[kind]
    return Weights(variables, leftovers=leftovers)
