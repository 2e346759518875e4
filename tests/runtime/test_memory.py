"""What experiment/memory.py assumes of memory holds for programs compiled for accelerators.

Run alone, as test_accelerators.py.
"""

import importlib
import pathlib
import sys

import pytest

from avvp_jax.data.prepared import AUTO_SHARE
from avvp_jax.experiment.memory import SHARE, fitting, parameters
from avvp_jax.methods import stages_of
from avvp_jax.training.run import Run, all_seeds
from tests.on_devices import METHODS, VIDEOS, MadeUp, made_up_split
from tests.runtime.test_accelerators import installed

sys.path.append(str(pathlib.Path(__file__).parent.parent.parent / "benchmarks"))
import lowering  # noqa: E402
from floors import numbers_of  # noqa: E402

CASES = [("v5e:2x2", "han", 10), ("h100", "han", 10)]
CASES += [("h100", "valor-plus", 10), ("h100", "valor-plus", 60), ("h100", "mm_cse", 10)]
TRAIN = 10_000  # LLP's training videos
# The parameters, their two moments and the best model: once more while a checkpoint is written.
STATE = 4


def published(method: str, folder: pathlib.Path, seeds: int, segments: int):
    """The config of a method as published, its last stage, and its job for so many seeds."""
    module, variant = METHODS[method]
    config = importlib.import_module(f"configs.{module}").get_config(variant)
    config.num_seeds, stages = seeds, stages_of(config)
    data = MadeUp({name: made_up_split(name, config.data.streams, segments) for name in VIDEOS})
    run = Run(config, str(folder), stages, data, all_seeds(config))
    return config, stages[-1], stages[-1].job(run)


@pytest.mark.parametrize(("name", "method", "segments"), CASES)
def test_seeds_and_features_that_are_said_to_fit_do(name, method, segments, tmp_path):
    """By what one and two seeds on a device take, with as many features as LLP has."""
    videos = TRAIN * 10 // segments
    accelerator, given, taken, there = installed(name), [], [], numbers_of(name).memory
    devices = accelerator.devices().size
    for count in (1, 2):
        seeds = count * devices
        config, stage, job = published(method, tmp_path / str(count), seeds, segments)
        lowered = lowering.training(job, accelerator.mesh(seeds), videos)
        memory = accelerator.compile(lowered).memory_analysis()
        given.append(memory.argument_size_in_bytes)
        taken.append(given[-1] + memory.temp_size_in_bytes)
    seed = taken[1] - taken[0]
    features, spec = videos * job.data.train.spec.video_bytes, job.data.train.spec
    # Neither padded nor copied, and held on a device of this memory.
    assert features < 2 * given[0] - given[1] and taken[0] - seed < 1.2 * features
    assert 1.2 * features < AUTO_SHARE * there
    fit = fitting(config, spec, stage, SHARE * there - features)
    saved = 4 * STATE * parameters(config, spec, stage)
    assert taken[0] + (fit - 1) * seed + fit * saved < there
    assert fit * seed > there / 8  # nor is most of it left empty
