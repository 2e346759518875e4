"""Fixtures shared by the tests: golden numbers, published weights, small data."""

import json
import os
import pathlib
import tempfile

# Before jax is imported anywhere: programs compiled once serve all tests of this session, and
# no test sees what an earlier session compiled.
_CACHE = tempfile.TemporaryDirectory()
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import numpy as np
import pytest
import recipe

from avvp_jax.network import parser_network
from avvp_jax.published import LAYOUTS, from_published

GOLDEN = pathlib.Path(__file__).parent / "golden"
WIDTHS = (128, 2048, 512)


@pytest.fixture(scope="session")
def golden():
    """name -> the arrays of tests/golden/NAME.npz."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture(scope="session")
def published_state():
    """(method, seed) -> a published state_dict, recreated by the recipe."""
    shapes = json.loads((GOLDEN / "shapes.json").read_text())

    def state(method: str, seed: int) -> dict[str, np.ndarray]:
        return {
            name: recipe.weight(name, tuple(shape), seed) for name, shape in shapes[method].items()
        }

    return state


@pytest.fixture(scope="session")
def published_network(published_state):
    """(method, seed) -> the network without dropout, and its published parameters."""

    def build(method: str, seed: int):
        layout = LAYOUTS[method]
        network = parser_network(WIDTHS, {**layout.model, "dropout": 0.0, "visual_dropout": 0.0})
        template = network.shapes()["params"]
        params, unused = from_published(published_state(method, seed), template, layout, "recipe")
        return network, {"params": params, "stats": {}}, unused

    return build


@pytest.fixture(scope="session")
def recipe_batch():
    """(videos, seed) -> a training batch of the recipe's base features, pooled to segments."""

    def batch(videos: int, seed: int) -> dict:
        drawn = recipe.inputs("base", videos, seed)
        features = {
            "audio": drawn["audio"],
            "visual": drawn["video_s"].reshape(videos, 10, 8, -1).mean(axis=2),
            "snippet": drawn["video_st"],
        }
        weight = np.ones(videos, np.float32)
        return {"features": features, "weak_label": drawn["label"], "weight": weight}

    return batch


SMALL_MODEL = {
    "width": 16,
    "heads": 2,
    "feed_forward": 24,
    "layers": 1,
    "dropout": 0.1,
    "visual_dropout": 0.0,
    "update": "parallel",
    "norm": "post",
    "cross_attention": True,
    "dtype": "float32",
}


@pytest.fixture
def small_model() -> dict:
    """Keyword arguments of a Parser that computes in no time."""
    return dict(SMALL_MODEL)
