"""How many seeds train together in the memory of a device."""

import os
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from avvp_jax.data import Split
from avvp_jax.settings import has_begun, recall
from avvp_jax.stages import Training
from avvp_jax.task import SEGMENTS

# Of the device's memory, what the data set and the seeds may take; the compiler needs the rest.
SHARE = 0.6
# Copies of the parameters that a seed needs: itself, two moments, best, these four again while a
# checkpoint is written, and the gradient.
COPIES = 9
# Numbers that a training step keeps of a token, in multiples of the network's width: an estimate
# on the safe side.
ACTIVATIONS = 60


def seeds_at_once(
    config: ConfigDict, stages: Sequence[Training], train: Split, workdir: str
) -> int:
    """`config.seeds_at_once`, or if that is 0 what a run began with, or what memory allows."""
    if config.seeds_at_once:
        return config.seeds_at_once
    if has_begun(workdir):
        return recall(workdir).seeds_at_once
    free = SHARE * device_memory() - sum(x.nbytes for x in train.features.values())
    return min(config.num_seeds, *(fitting(config, stage, free) for stage in stages))


def fitting(config: ConfigDict, stage: Training, free: float) -> int:
    """How many seeds of a stage fit into so many bytes, at least one."""
    config = stage.settings(config)
    shapes = jax.tree.leaves(stage.trained_network(config).shapes()["params"])
    parameters = sum(int(np.prod(leaf.shape)) for leaf in shapes)
    tokens = 2 * SEGMENTS * max(config.train.batch_size, config.eval.batch_size)
    activations = tokens * config.model.width * ACTIVATIONS * config.model.layers
    return max(1, int(free / (4 * (COPIES * parameters + activations))))


def device_memory() -> float:
    """Bytes of the first device, or of the host where the device does not say."""
    stats = jax.devices()[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(stats.get("bytes_limit", host))
