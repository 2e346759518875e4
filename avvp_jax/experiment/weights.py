"""Trained variables, from a work directory or from published files."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from avvp_jax.data.prepared import expected_spec
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.schema import WEIGHTLESS
from avvp_jax.experiment.settings import value_of
from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import from_published, part_of
from avvp_jax.interchange.torch_files import read_published
from avvp_jax.methods import layout_of, stages_of
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.storage.reading import is_folder, odd_file
from avvp_jax.streams import DataSpec
from avvp_jax.training.checkpoints import restore_best
from avvp_jax.training.run import all_seeds, seed_groups, stage_folder
from avvp_jax.training.selection import add_seeds_axis, no_best, take_seed
from avvp_jax.training.sequence import final_stage


class Leftover(NamedTuple):
    """Of a published file: tensors that no network reads, and what is beside the state_dict."""

    unused: Mapping[str, np.ndarray]
    rest: dict | None


@dataclasses.dataclass(frozen=True)
class Weights:
    """Where a model's variables came from.

    Attributes:
      variables: of the network.
      epoch: the epoch they were selected at (of each part, where parts were selected
        apart); None for a published file.
      seed, score: of the run they are from, and their val score, NaN if it diverged; None
        likewise.
      leftovers: part of the model -> what its published file holds that no network
        reads, kept for export.
    """

    variables: Variables
    epoch: int | dict[str, int] | None = None
    seed: int | None = None
    score: float | None = None
    leftovers: Mapping[str, Leftover] = dataclasses.field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Whether their run ended early, by a loss or gradient that was not finite."""
        return self.score is not None and math.isnan(self.score)

    @property
    def step(self) -> int:
        """The epoch as a step to log at."""
        return max(jax.tree.leaves(self.epoch), default=0)


def read_weights(path: str, network: Network, config: ConfigDict, stage: str = "") -> Weights:
    """The weights of `config.pick_seed` in a work directory, or those in a published `.pt`.

    See read_all_weights.
    """
    return pick(read_all_weights(path, network, config, stage), config.pick_seed)


def pick(weights: list[Weights], seed: int) -> Weights:
    """The weights of a seed; -1 picks the best on val.

    Raises:
      UserError: they are of other seeds, or all have diverged.
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
    path: str, network: Network, config: ConfigDict, stage: str = ""
) -> list[Weights]:
    """Each seed's weights in a work directory (best models of a stage), or a published `.pt`'s.

    Args:
      stage: of the work directory's own method; empty is its last.

    Raises:
      UserError: nothing is there, it is damaged, or it does not fit `network`.
    """
    if is_folder(path):
        return _weights_of_workdir(path, network, config, stage)
    layout = layout_of(config, final_stage(config, stages_of(config)))
    return [read_published_weights(path, network, layout)]


def _weights_of_workdir(
    path: str, network: Network, config: ConfigDict, stage: str
) -> list[Weights]:
    source = recall(path)
    left = final_stage(source, stages_of(source), stage)
    refuse_other_model(
        path, left.settings(source), final_stage(config, stages_of(config)).settings(config)
    )
    one = no_best(network.shapes(), left.settings(source).eval.select)
    seeds, weights = all_seeds(source), []
    for group in seed_groups(seeds, source.seeds_at_once or len(seeds)):
        folder = stage_folder(path, left.name, source, group)
        if odd := odd_file(folder):
            raise UserError(f"{odd}: is not a file; delete {folder} and train again")
        best = restore_best(folder, add_seeds_axis(one, len(group)))
        for index, seed in enumerate(group):
            variables, epoch, score = take_seed(best, index)
            weights.append(Weights(variables, epoch, seed, score))
    return weights


def spec_of_weights(config: ConfigDict, path: str) -> DataSpec:
    """The task and streams of the weights at a path: a work directory knows them, and a
    published file is taken to be of the config's data.

    Raises:
      UserError: the work directory is damaged, or the data cannot be prepared.
    """
    return recall_spec(path) if is_folder(path) else expected_spec(config.data)


def refuse_other_data(trained: DataSpec, given: DataSpec, path: str) -> None:
    """Refuses data of another task, or of other widths, than weights were trained on.

    Raises:
      UserError: says how they differ.
    """
    if trained.task != given.task:
        was, now = (f"{x.name}, {len(x.classes)} classes" for x in (trained.task, given.task))
        same = " (names, segments or seconds differ)" if was == now else ""
        raise UserError(
            f"{path} was trained for another task ({was}) than the data's ({now}){same}; give the "
            "data set that it was trained on"
        )
    if trained.widths != given.widths:
        raise UserError(
            f"{path} was trained on features {trained.widths} wide, and the data's are "
            f"{given.widths}; give the data set that it was trained on"
        )


def refuse_other_model(path: str, trained: ConfigDict, asked: ConfigDict) -> None:
    """Refuses a network that would read the weights of another one; shapes do not tell heads."""
    settings = [f"model.{key}" for key in trained.model if key not in WEIGHTLESS]
    for key in (*settings, "data.streams"):
        was, now = value_of(trained, key), value_of(asked, key)
        if was != now:
            raise UserError(f"{path} was trained with config.{key}={was!r}, not {now!r}")


def read_published_weights(path: str, network: Network, layout: Layout) -> Weights:
    """The weights in the published `.pt` of a method, or in the several that begin with `path`."""
    variables, leftovers = network.shapes(), {}
    for part, part_path in layout.paths(path).items():
        file = read_published(part_path)
        template = part_of(variables, part)
        values, unused = from_published(file.state, template, layout, part_path)
        leftovers[part] = Leftover(unused, file.rest)
        for kind in variables:
            variables[kind] = variables[kind] | {part: values[kind]} if part else values[kind]
    return Weights(variables, leftovers=leftovers)
