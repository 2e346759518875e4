"""Equal trainings share their compiled programs, because what identifies a program is equal."""

import pytest
from ml_collections import ConfigDict

from avvp_jax.methods import stages_of
from avvp_jax.streams import data_spec
from avvp_jax.training.optimizer import make_optimizer, make_schedule
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


def test_trainings_at_other_learning_rates_share_their_programs(small_config):
    plain, other = small_config("han"), small_config("han")
    other.schedule.learning_rate, other.schedule.every_epochs = 0.5, 1
    assert kept_by(plain) == kept_by(other)


def test_other_trainings_have_others(small_config):
    config = small_config("han")
    made = {id(make_schedule(config.schedule, epochs)) for epochs in (2, 3)}
    config.schedule.learning_rate = 0.5
    made.add(id(make_schedule(config.schedule, 2)))
    assert len(made) == 2  # steps do not depend on the number of epochs, a cosine does
    cosine = small_config("valor").schedule
    assert make_schedule(cosine, 2) is not make_schedule(cosine, 3)
    networks = {stage[1] for method in METHODS for stage in kept_by(small_config(*method))}
    assert len(networks) > 3
