"""How many seeds train together in the memory of a device."""

import os

import jax
import numpy as np
from ml_collections import ConfigDict

from avvp_jax.settings import has_begun, recall
from avvp_jax.stages import Training
from avvp_jax.task import SEGMENTS

# Of the device's memory, what seeds may take; the data set and the compiler need the rest.
SHARE = 0.6
# Copies of the parameters that a seed needs: itself, gradient, two moments, best, and the first
# four of these that a checkpoint is being written of.
COPIES = 9
# Numbers that a training step keeps of a token, in multiples of the network's width: an estimate
# on the safe side.
ACTIVATIONS = 60


def seeds_at_once(config: ConfigDict, stage: Training, workdir: str) -> int:
    """`config.seeds_at_once`, or if that is 0 what a run began with, or what memory allows."""
    if config.seeds_at_once:
        return config.seeds_at_once
    if has_begun(workdir):
        return recall(workdir).seeds_at_once
    return min(config.num_seeds, fitting(config, stage))


def fitting(config: ConfigDict, stage: Training) -> int:
    """How many seeds of a stage fit on the first device, at least one."""
    shapes = jax.tree.leaves(stage.trained_network(config).shapes()["params"])
    parameters = sum(int(np.prod(leaf.shape)) for leaf in shapes)
    tokens = 2 * SEGMENTS * max(config.train.batch_size, config.eval.batch_size)
    activations = tokens * config.model.width * ACTIVATIONS * config.model.layers
    return max(1, int(SHARE * device_memory() / (4 * (COPIES * parameters + activations))))


def device_memory() -> float:
    """Bytes of the first device, or of the host where the device does not say."""
    stats = jax.devices()[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(stats.get("bytes_limit", host))
