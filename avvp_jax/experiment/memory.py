"""Estimates of memory: whether a network fits on a device, and how many seeds fit together."""

import math
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import has_begun, recall
from avvp_jax.runtime.mesh import BATCH, SEEDS, device_memory, make_mesh
from avvp_jax.streams import DataSpec
from avvp_jax.training.run import Run, all_seeds, seed_groups
from avvp_jax.training.stages import Training

# Share of a device's memory for the data set and the seeds; compiled programs need the rest.
SHARE = 0.6
# Copies of the parameters that a seed needs: the parameters, two moments, the best model, all four
# again while a checkpoint is written, and the gradient. The fewest: without the checkpoint. A model
# that is kept beside the best is one more, in a checkpoint too.
COPIES, FEWEST_COPIES = 9, 5
# Numbers that a training step stores per token, as a multiple of the network's width, and for each
# head and each token that it attends to: a conservative estimate, and the fewest.
ACTIVATIONS, FEWEST_ACTIVATIONS = 60, 8
ATTENDED, FEWEST_ATTENDED = 12, 1


def seeds_at_once(run: Run, stages: Sequence[Training]) -> int:
    """How many seeds train together: `config.seeds_at_once`, unless that is 0.

    If it is 0: as many as when the run began, or in a new run as many as fit in memory.
    """
    config = run.config
    if config.seeds_at_once:
        return config.seeds_at_once
    if has_begun(run.workdir):
        return recall(run.workdir).seeds_at_once
    free = SHARE * device_memory() - run.train.features.resident_bytes
    fit = min(fitting(config, run.spec, stage, free) for stage in stages)
    counts = range(1, config.num_seeds + 1)
    return max(count for count in counts if seeds_on_a_device(config, count) <= fit or count == 1)


def seeds_on_a_device(config: ConfigDict, at_once: int) -> int:
    """The most seeds of one group that a device holds; the last group may be smaller."""
    sizes = {len(group) for group in seed_groups(all_seeds(config), at_once)}
    return max(size // make_mesh(size, **config.mesh).shape[SEEDS] for size in sizes)


def fitting(config: ConfigDict, spec: DataSpec, stage: Training, free: float) -> int:
    """How many seeds of a stage fit into `free` bytes; at least one."""
    count, settings = parameters(config, spec, stage), stage.settings(config)
    copies = COPIES + 2 * (stage.fixed_epoch(settings) > 0)
    videos = max(settings.train.batch_size, settings.eval.batch_size)
    stored = activations(stage, settings, spec, videos, ACTIVATIONS, ATTENDED)
    return max(1, int(free / (4 * (copies * count + stored))))


def activations(
    stage: Training,
    settings: ConfigDict,
    spec: DataSpec,
    videos: int,
    of_width: int,
    of_attended: int,
) -> int:
    """Numbers that a step of so many videos stores; attention's grow with segments squared."""
    model, tokens = settings.model, stage.tokens(settings, spec)
    of_token = tokens.width * of_width + model.heads * tokens.attended * of_attended
    # A level of a pyramid encoder stores about as much as a hybrid layer.
    return tokens.count * videos * (model.layers + model.get("levels", 0)) * of_token


def refuse_too_large(run: Run, stages: Sequence[Training]) -> None:
    """Checks that a device can hold the networks of a run, before anything is written.

    Raises:
      UserError: parameters, gradients, moments and best model, and what a step stores, exceed its
        memory.
    """
    config, spec = run.config, run.spec
    at_once = min(config.seeds_at_once, config.num_seeds)
    seeds, share = (
        seeds_on_a_device(config, at_once),
        make_mesh(at_once, **config.mesh).shape[BATCH],
    )
    there = device_memory()
    for stage in stages:
        settings = stage.settings(config)
        model, batch = settings.model, min(settings.train.batch_size, len(run.train))
        fewest = FEWEST_ACTIVATIONS, FEWEST_ATTENDED
        stored = activations(stage, settings, spec, batch, *fewest) // share
        copies = FEWEST_COPIES + (stage.fixed_epoch(settings) > 0)
        needed = 4 * (copies * parameters(config, spec, stage) * seeds + stored)
        if needed > there:
            raise UserError(
                f"{sizes_of(model)}, {len(spec.task.classes)} classes, {seeds} seeds "
                f"at once on a device, batches of {batch} clips of {spec.task.segments} segments: "
                f"stage {stage.name} takes {needed / 1e9:.1f} GB and there are "
                f"{there / 1e9:.1f}; lower one of them"
            )


def sizes_of(model: ConfigDict) -> str:
    """The values of `config.model` that are whole numbers, by their full names."""
    sizes = (item for item in model.items() if type(item[1]) is int)
    return ", ".join(f"config.model.{key}={value}" for key, value in sizes)


def parameters(config: ConfigDict, spec: DataSpec, stage: Training) -> int:
    """The number of parameters that a stage trains for one seed."""
    shapes = jax.tree.leaves(stage.trained_network(config, spec).shapes()["params"])
    return sum(math.prod(leaf.shape) for leaf in shapes)
