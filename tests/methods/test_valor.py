"""VALOR: golden numbers of all its networks, its optimizer and schedule, its teachers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.experiment.settings import check_config
from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.valor import stages as valor
from avvp_jax.methods.valor.method import MODEL as VALOR_MODEL
from avvp_jax.training import keys
from avvp_jax.training.optimizer import clip_global_norm, make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from configs.valor import get_config
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden

PROGRAMS = {name: METHODS[name].layout for name in ("valor", "valor_plus", "valor_plus_plus")}
# The program's options, not a published model: two layers, each with its norms in front.
PRE_NORM = dataclasses.replace(PROGRAMS["valor"], model=VALOR_MODEL | {"norm": "pre", "layers": 2})
PROGRAMS["valor_pre_norm"] = PRE_NORM
LARGEST_RATE = 3e-4  # of all golden trainings
VARIANTS = {"valor": "valor", "valor_plus": "plus", "valor_plus_plus": "plus_plus"}


def imported(published_state, name: str, seed: int):
    """A network without dropout, its published weights, and what it does not use of them."""
    layout = PROGRAMS[name]
    layout = dataclasses.replace(layout, model=layout.model | {"dropout": 0.0})
    network = layout.file_network()
    state = published_state(name, seed)
    variables, unused = from_published(state, network.shapes(), layout, "recipe")
    return network, variables, unused


@pytest.mark.parametrize("name", PROGRAMS)
def test_forward_equals_the_published_program(golden, published_state, recipe_batch, name):
    numbers, streams = golden(name), PROGRAMS[name].streams
    seed = int(numbers["seed"])
    network, variables, _ = imported(published_state, name, seed)
    output = network.module(variables)(recipe_batch(4, seed, streams)["features"])
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob"):
        np.testing.assert_allclose(output[prob], numbers[f"forward/{prob}"], rtol=1e-5)
    logits = numbers["forward/frame_logits"]
    np.testing.assert_allclose(output["frame_logits"], logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_training_equals_the_published_program(golden, published_state, recipe_batch, name):
    """Losses of five steps and the weights after them, at one learning rate."""
    numbers, streams = golden(name), PROGRAMS[name].streams
    seed = int(numbers["seed"])
    network, variables, unused = imported(published_state, name, seed)
    optimizer = make_optimizer(get_config().optimizer)
    step = jax.jit(make_step(network, valor.loss, optimizer))
    state, logged = begin(optimizer, variables), []
    for index in range(len(numbers["train/video_losses"])):
        batch = recipe_batch(8, 1000 * seed + index + 1, streams)
        state, values = step(state, batch, keys.root_key(0), LARGEST_RATE)
        logged.append(values)
    losses = {key: [values[key] for values in logged] for key in logged[0]}
    np.testing.assert_allclose(losses["loss/global"], numbers["train/video_losses"], rtol=1e-4)
    for key, mean in {
        "loss/global": "video",
        "loss/teacher_visual": "valor_v",
        "loss/teacher_audio": "valor_a",
        "loss": "all",
    }.items():
        expected = numbers[f"train/mean_loss_{mean}"]
        np.testing.assert_allclose(np.mean(losses[key]), expected, rtol=1e-4, err_msg=key)
    moved = LARGEST_RATE * len(logged)
    assert_weights(state.variables, PROGRAMS[name], unused, numbers, "train/after/", moved)


def test_pre_norm_has_the_final_norms_among_its_parameters(published_state):
    _, variables, unused = imported(published_state, "valor_pre_norm", 1)
    assert "final_norm_a" in variables["params"]["encoder"]
    assert not unused
    assert len(imported(published_state, "valor", 1)[2]) == 4


@pytest.mark.parametrize("name", VARIANTS)
def test_the_learning_rate_is_the_published_one_in_every_epoch(golden, name):
    config = get_config(VARIANTS[name])
    schedule = make_schedule(config.schedule, config.train.epochs)
    rates = [float(schedule(epoch)) for epoch in range(1, 61)]
    largest = {"valor": 1e-4}.get(name, 3e-4)
    by_hand = [
        largest * e / 10
        if e < 10
        else largest / 100 + (largest - largest / 100) / 2 * (1 + np.cos(np.pi * (e - 10) / 50))
        for e in range(1, 61)
    ]
    np.testing.assert_allclose(rates, by_hand, rtol=1e-5)
    # The golden rates are those of a run from 3e-4 to 3e-6.
    scale = largest / LARGEST_RATE
    np.testing.assert_allclose(rates, scale * golden(name)["schedule/lr"], rtol=1e-5)


def test_without_warm_up_the_learning_rate_is_a_half_cosine():
    config = get_config()
    config.schedule.warmup_epochs = 0
    check_config(config)
    schedule = make_schedule(config.schedule, 4)
    rates = [float(schedule(epoch)) for epoch in range(1, 5)]
    low, high = config.schedule.final_learning_rate, config.schedule.learning_rate
    shares = [1 / 2 + np.sqrt(2) / 4, 1 / 2, 1 / 2 - np.sqrt(2) / 4, 0]
    np.testing.assert_allclose(rates, [low + s * (high - low) for s in shares], rtol=1e-5)


def test_gradients_are_clipped_together_and_only_when_too_large():
    clip = clip_global_norm(1.0)
    small = {"a": jnp.array([0.3, 0.4]), "b": jnp.zeros(2)}
    np.testing.assert_array_equal(clip.update(small, clip.init(small))[0]["a"], small["a"])
    large = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([0.0, 4.0])}
    clipped = clip.update(large, clip.init(large))[0]
    np.testing.assert_allclose(clipped["a"], [3 / (5 + 1e-6), 0], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"], [0, 4 / (5 + 1e-6)], rtol=1e-6)
