"""What is said to fit counts with the segments of a clip."""

import dataclasses
import importlib

import pytest

from avvp_jax.errors import UserError
from avvp_jax.experiment import memory
from avvp_jax.methods import stages_of
from avvp_jax.training.run import Run, all_seeds
from tests.on_devices import VIDEOS, MadeUp, made_up_split

GB = 1e9


def run_of(segments: int, folder, **model) -> tuple[Run, list]:
    config = importlib.import_module("configs.han").get_config("")
    config.model.update(model)
    config.num_seeds = config.seeds_at_once = 2
    data = MadeUp({name: made_up_split(name, "base", segments) for name in VIDEOS})
    stages = stages_of(config)
    return Run(config, str(folder), stages, data, all_seeds(config)), stages


def fitting(segments: int, folder, free: float = 80 * GB, **model) -> int:
    run, stages = run_of(segments, folder, **model)
    return memory.fitting(run.config, run.spec, stages[-1], free)


def test_seeds_that_fit_count_with_segments_and_attention_with_their_square(tmp_path):
    with_one_head = [fitting(segments, tmp_path) for segments in (10, 20, 40, 60)]
    assert with_one_head == sorted(with_one_head, reverse=True) and len({*with_one_head}) == 4
    assert fitting(60, tmp_path, heads=64) < with_one_head[-1] / 1.5
    assert fitting(10, tmp_path, heads=64) > with_one_head[0] / 1.5


@pytest.mark.parametrize(("segments", "heads"), [(60, 1), (10, 512), (60, 512)])
def test_a_step_that_no_device_holds_is_refused_in_a_line(segments, heads, tmp_path, monkeypatch):
    """With so little memory that what a step stores makes the difference."""
    run, stages = run_of(segments, tmp_path, heads=heads)
    fewest = 4 * memory.FEWEST_COPIES * 2 * memory.parameters(run.config, run.spec, stages[-1])
    monkeypatch.setattr(memory, "device_memory", lambda: fewest + 1e6)
    with pytest.raises(UserError, match=f"batches of 14 clips of {segments} segments"):
        memory.refuse_too_large(run, stages)
    monkeypatch.setattr(memory, "device_memory", lambda: fewest + 1 * GB)
    memory.refuse_too_large(run, stages)


def test_features_count_with_segments(tmp_path):
    """By these bytes feed=auto decides."""
    few, many = (run_of(segments, tmp_path)[0].spec.video_bytes for segments in (10, 60))
    assert many == 6 * few


def test_classes_count_where_each_is_a_token(tmp_path):
    """MM-CSE's step of the published size takes 3.1 GB."""
    config = importlib.import_module("configs.mm_cse").get_config()
    (stage,) = stages_of(config)
    spec = made_up_split("train", "clip_clap").spec
    stored = [
        4 * memory.activations(stage, config, spec, 64, *numbers)
        for numbers in (
            (memory.FEWEST_ACTIVATIONS, memory.FEWEST_ATTENDED),
            (memory.ACTIVATIONS, memory.ATTENDED),
        )
    ]
    assert stored[0] < 3.1 * GB < stored[1] < 2 * 3.1 * GB


def test_a_model_that_is_kept_beside_the_best_counts(tmp_path):
    """CMPAE's, of an epoch of its own: of 5.7 million parameters, twice with a checkpoint."""
    config = importlib.import_module("configs.cmpae").get_config()
    *_, train, _ = stages_of(config)
    spec = made_up_split("train", "base").spec
    free = 3000 * 4 * memory.COPIES * memory.parameters(config, spec, train)
    without = dataclasses.replace(train, fixed_epoch=lambda config: 0)
    one, both = (memory.fitting(config, spec, x, free) for x in (without, train))
    assert both < one
