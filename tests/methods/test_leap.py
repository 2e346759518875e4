"""LEAP: golden numbers of its network, its losses and its training, and how it starts."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
import recipe_next

from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.leap import stages as leap
from avvp_jax.methods.leap.label_embeddings import NAME
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.task import MODALITIES
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from configs.leap import get_config
from tests.first_states import begin
from tests.fixtures import GOLDEN, without_dropout
from tests.weights import assert_weights

LAYOUT = METHODS["leap"].layout
RATE = 1e-4
EXACT = jax.lax.Precision.HIGHEST


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/leap")


@pytest.fixture(scope="module")
def imported(numbers, published_state):
    """The published network without dropout, its golden weights, and what it does not use."""
    seed, network = int(numbers["seed"]), without_dropout(LAYOUT)
    state, given = published_state("leap", seed), {NAME: recipe_next.label_embedding(seed)}
    return network, *from_published(state, network.shapes(), LAYOUT, "recipe", given)


def assert_as_published(found, wanted, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.golden
def test_forward_equals_the_published_program(numbers, imported, recipe_batch):
    network, variables, _ = imported
    features = recipe_batch(4, int(numbers["seed"]))["features"]
    output = jax.jit(lambda v, x: network.module(v)(x))(variables, features)
    for name in ("global_prob", "audio_prob", "visual_prob", "audio_stream", "visual_stream"):
        assert_as_published(output[name], numbers[f"forward/{name}"])
    for index, modality in enumerate(MODALITIES):
        assert_as_published(
            output["frame_prob"][:, :, index], numbers[f"forward/{modality}_frame_prob"]
        )
        assert_as_published(
            output[f"{modality}_labels"], numbers[f"forward/{modality}_label_stream"]
        )


def training_batch(recipe_batch, step: int, seed: int) -> dict:
    """The recipe's batch of a step, whose first videos lack labels by teachers."""
    drawn = recipe_next.leap_batch(step, seed)
    batch = recipe_batch(8, 1000 * seed + step + 1)
    return batch | {"pseudo_label": {m: drawn[f"{m}_pseudo"] for m in MODALITIES}}


@pytest.mark.golden
def test_training_equals_the_published_program(numbers, imported, recipe_batch):
    """Losses of five steps and the weights after them, with the config's optimizer."""
    config, seed = get_config(), int(numbers["seed"])
    network, variables, unused = imported
    optimizer = make_optimizer(config.optimizer)
    step = jax.jit(make_step(network, leap.LOSSES["program"], optimizer), donate_argnums=0)
    state, logged = begin(optimizer, variables), []
    for index in range(5):
        batch = training_batch(recipe_batch, index, seed)
        state, values = step(state, batch, keys.root_key(0), RATE)
        logged.append(jax.device_get(values))
    for golden, parts in {
        "losses": ("audio", "visual", "global"),
        "segments": ("teacher_visual", "teacher_audio"),
        "similarity": ("similarity",),
    }.items():
        found = [values[f"loss/{part}"] for values in logged for part in parts]
        np.testing.assert_allclose(found, numbers[f"train/{golden}"], rtol=1e-4, err_msg=golden)
    assert_weights(state.variables, LAYOUT, unused, numbers, "train/after/", RATE * 5)
    np.testing.assert_array_equal(state.stats[NAME], recipe_next.label_embedding(seed))


@pytest.mark.golden
def test_the_similarity_loss_and_its_gradients_are_the_published_ones(numbers):
    streams, labels = (
        {m: jnp.asarray(numbers[f"similarity/input/{m}_{what}"]) for m in MODALITIES}
        for what in ("stream", "labels")
    )
    loss = lambda x: leap.similarity_loss(x, labels, np.ones(8, np.float32), EXACT)  # noqa: E731
    total, slopes = jax.value_and_grad(loss)(streams)
    np.testing.assert_allclose(total, numbers["similarity/loss"], rtol=1e-4)
    for modality, slope in slopes.items():
        assert_as_published(slope, numbers[f"similarity/gradient/{modality}_stream"])


@pytest.mark.golden
def test_the_learning_rate_is_the_published_one_in_every_epoch(numbers):
    config = get_config()
    schedule = make_schedule(config.schedule, config.train.epochs)
    rates = [float(schedule(epoch)) for epoch in range(1, config.train.epochs + 1)]
    np.testing.assert_allclose(rates, numbers["schedule/lr"], rtol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_are_those_of_the_published_filter(numbers, split):
    stored = runpy.run_path(str(GOLDEN / "make_llp_dense.py"))["stored_labels"]
    weak, true = stored(split)
    probs = recipe.predictions(weak.astype(float), int(numbers["seed"]))
    found = scores(predicted_segments(probs, LAYOUT.video_filter), true)
    assert tuple(numbers["scores/names"]) == NAMES == tuple(found)
    np.testing.assert_allclose(list(found.values()), numbers[f"scores/{split}"], rtol=0, atol=1e-9)
