"""Clips of any length through training, validation and prediction."""

import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from avvp_jax.methods import stages_of
from avvp_jax.nn import time_mask
from avvp_jax.streams import data_spec
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.selection import no_best
from avvp_jax.training.stages import Training
from avvp_jax.training.state import init_state
from avvp_jax.training.step import make_step


def lowered_steps(config: ConfigDict, **more: np.ndarray) -> list[str]:
    """The training step of each stage, lowered for batches with `more` in them."""
    spec, videos, texts = data_spec(config.data.streams), 3, []
    classes, shape = len(spec.task.classes), (videos, spec.task.segments)
    label, by_segment = np.zeros((videos, classes), "f4"), np.zeros((*shape, classes), "f4")
    batch = {
        "features": {r: np.zeros((*shape, x.width), "f4") for r, x in spec.roles.items()},
        "targets": dict.fromkeys(("audio", "visual", "video", "audio_net", "video_net"), label),
        "pseudo_label": {"audio": by_segment, "visual": by_segment},
        "removal_counts": dict.fromkeys(("audio", "visual"), np.zeros((1, classes, 4), np.int32)),
        "weight": np.ones(videos, np.float32),
        "step": np.int32(0),
    }
    for stage in (stage for stage in stages_of(config) if isinstance(stage, Training)):
        settings, network = stage.settings(config), stage.trained_network(config, spec)
        optimizer = make_optimizer(settings.optimizer)
        step = make_step(network, stage.loss, optimizer)

        def start(variables, optimizer=optimizer):
            return init_state(optimizer, variables, no_best(variables, "last"))

        state = jax.eval_shape(start, network.shapes())
        rates = make_schedule(settings.schedule, 2)(1)
        # Another function each time, which JAX has not traced before.
        traced = jax.jit(lambda *given, step=step: step(*given))
        texts.append(traced.lower(state, batch | more, keys.root_key(0), rates).as_text())
    return texts


@pytest.mark.parametrize("method", ["han", "jomold", "dhhn"])
def test_programs_of_whole_clips_are_those_that_know_of_no_mask(method, small_config, monkeypatch):
    config = small_config(method)
    masked = lowered_steps(config, lengths=np.array([10, 3, 1]))
    whole = lowered_steps(config)
    assert all(one != other for one, other in zip(masked, whole, strict=True))
    known = {"present": lambda *_, **__: None, "cleared": lambda arrays, _: arrays}
    patched = 0
    for module in [x for name, x in sys.modules.items() if name.startswith("avvp_jax.")]:
        for name, without in known.items():
            if getattr(module, name, None) is getattr(time_mask, name) and module is not time_mask:
                monkeypatch.setattr(module, name, without)
                patched += 1
    assert patched > 8
    assert lowered_steps(config) == whole
