"""MM-CSE: golden numbers of its network, attention maps, losses, training and scores."""

import dataclasses

import jax
import numpy as np
import pytest

from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.mm_cse.losses import (
    MAPS,
    orthogonality,
    reconstruction,
)
from tests.fixtures import without_dropout

pytestmark = pytest.mark.golden

LAYOUT = METHODS["mm_cse"].layout
STREAMS = {"mm_cse": "clip_clap", "mm_cse_base": "base"}
PREFIXES = {"mm_cse": "forward", "mm_cse_base": "forward_base"}


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/mm_cse")


def imported(published_state, name: str, seed: int):
    """A network without dropout, its published state_dict, variables, and what it does not use."""
    layout = dataclasses.replace(LAYOUT, streams=STREAMS[name])
    network, state = without_dropout(layout), published_state(name, seed)
    variables, unused = from_published(state, network.shapes(), layout, "recipe")
    return network, state, variables, unused


def assert_of_largest(found, expected, name: str) -> None:
    """Equal to 1e-5 of the largest number of an array."""
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
    )


@pytest.mark.parametrize("name", STREAMS)
def test_forward_equals_the_published_program(numbers, published_state, recipe_batch, name):
    seed, prefix = int(numbers["seed"]), PREFIXES[name]
    network, _, variables, _ = imported(published_state, name, seed)
    batch = recipe_batch(4, seed, STREAMS[name])
    output = jax.jit(lambda v, x: network.module(v)(x))(variables, batch["features"])
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob", "frame_logits"):
        assert_of_largest(output[prob], numbers[f"{prefix}/{prob}"], prob)
    for loss in (reconstruction, orthogonality):
        for modality, value in loss(output, batch["weight"]).items():
            expected = numbers[f"{prefix}/{modality}_{loss.__name__}"]
            np.testing.assert_allclose(value, expected, rtol=1e-5)
    for which in MAPS if name == "mm_cse" else ():
        found = output["maps"][which][:, [0, 3, 6, 9]]
        assert_of_largest(found, numbers[f"forward/map/{which}"], which)
