"""Equal trainings share their compiled programs, because what identifies a program is equal."""

import pytest
from ml_collections import ConfigDict

from avvp_jax.methods import stages_of
from avvp_jax.streams import data_spec
from avvp_jax.training.optimizer import make_optimizer
from avvp_jax.training.stages import Training
from avvp_jax.training.step import make_step

METHODS = [("han", ""), ("ma", ""), ("jomold", ""), ("valor", ""), ("dhhn", "refinement")]


def kept_by(config: ConfigDict) -> list:
    """Of each training of a config: what its programs are kept by, made now."""
    found = []
    spec = data_spec(config.data.streams)
    for stage in stages_of(config):
        if isinstance(stage, Training):
            settings = stage.settings(config)
            network, result = (
                build(config, spec) for build in (stage.trained_network, stage.result_network)
            )
            optimizer = make_optimizer(settings.optimizer)
            step = make_step(network, stage.loss, optimizer)
            found.append((step, network, result, stage.keep, optimizer))
    return found


@pytest.mark.parametrize(("method", "variant"), METHODS)
def test_equal_trainings_have_equal_programs(method, variant, small_config):
    one, other = (kept_by(small_config(method, variant)) for _ in range(2))
    assert one == other and hash(tuple(one)) == hash(tuple(other))
    assert all(a[0] is b[0] for a, b in zip(one, other, strict=True))


def test_other_trainings_have_others(small_config):
    networks = {stage[1] for method in METHODS for stage in kept_by(small_config(*method))}
    assert len(networks) > 3
