"""How a run makes the features that a folder of one's own lacks, and how long training takes."""

import dataclasses
import os
import time

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from avvp_jax.encoders.making import Making
from avvp_jax.experiment.memory import parameters
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.runtime import processes
from avvp_jax.storage.reading import is_there
from avvp_jax.storage.writing import make_folder, write_lines
from avvp_jax.streams import data_spec
from avvp_jax.task import Task
from avvp_jax.training.stages import Training

FIRST_LOOK = "first_look.txt"
# What a step costs, as a multiple of its products; and seconds until the first one.
_BESIDE, _COMPILING = 2, 15
_TIMES = 20


def making_of(config: ConfigDict, workdir: str | None = None) -> Making:
    """How features are made.

    Args:
      config: of the run.
      workdir: of a training that begins, which keeps the first look; None for other modes.
    """
    extract = config.extract
    how = Making(
        fidelity=extract.fidelity,
        weights_dir=extract.weights_dir or None,
        arithmetic=(extract.dtype, extract.precision),
        taught=METHODS[config.method].taught,
    )
    path = os.path.join(workdir or "", FIRST_LOOK)
    if workdir is None or processes.as_the_first(int(is_there(path))):
        return how

    def keep(text: str) -> None:
        make_folder(workdir)
        write_lines(path, [text])

    return dataclasses.replace(
        how,
        look=keep,
        training=lambda task, train, val: training_seconds(config, task, train, val),
    )


def training_seconds(config: ConfigDict, task: Task, train: int, val: int) -> float:
    """About how many seconds a training will take on this device: a rough guess.

    A product as large as those of the network is timed. All products of training are reckoned from
    the number of parameters.

    Args:
      task: what is parsed.
      train, val: how many clips the splits have.
    """
    spec, total = data_spec(config.data.streams, task), 0.0
    for stage in (stage for stage in stages_of(config) if isinstance(stage, Training)):
        settings = stage.settings(config)
        batch, width = min(settings.train.batch_size, train), settings.model.width
        rows = 2 * batch * task.segments  # of two modalities
        seconds = _product(rows, width) / (2 * rows * width * width)  # for each operation
        each = 2 * 2 * task.segments * parameters(config, spec, stage)  # forward, for a clip
        of_epoch = each * (3 * train + val) * _BESIDE
        total += _COMPILING + seconds * of_epoch * settings.train.epochs * config.num_seeds
    return total


def _product(rows: int, width: int) -> float:
    """How many seconds a product of [rows, width] and [width, width] takes."""

    def several(x):
        return jax.lax.fori_loop(0, _TIMES, lambda _, y: jnp.tanh(y @ weight), x)

    weight, x = jnp.full((width, width), 1 / width), jnp.ones((rows, width))
    program = jax.jit(several)
    program(x).block_until_ready()
    start = time.perf_counter()
    program(x).block_until_ready()
    return (time.perf_counter() - start) / _TIMES
