"""Fixtures shared by the tests: golden numbers, published weights, small data."""

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest
import recipe

from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.targets import targets
from avvp_jax.nn.functional import Network
from avvp_jax.streams import ROLES, STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import LLP, MODALITIES
from tests.tfds_llp.other_task import prepare_others
from tests.tfds_llp.published_folder import write_published

# Programs that launch.py compiles serve all its processes of this session, and none of another.
# This process keeps none: writing hundreds of them has crashed XLA.
_CACHE = tempfile.TemporaryDirectory()
jax.config.update("jax_enable_compilation_cache", False)

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """name -> the arrays of tests/golden/NAME.npz."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture(scope="session")
def published_state():
    """(method, seed) -> a published state_dict, recreated by the recipe."""
    shapes = json.loads((GOLDEN / "shapes.json").read_text())
    shapes["dhhn"] = shapes["dhhn_hcmn"]  # the network in each of DHHN's files

    def state(method: str, seed: int) -> dict[str, np.ndarray]:
        return {
            name: recipe.weight(name, tuple(shape), seed) for name, shape in shapes[method].items()
        }

    return state


@pytest.fixture(scope="session")
def published_network(published_state):
    """(method, seed) -> the network without dropout, and its published parameters."""

    def build(method: str, seed: int):
        layout = METHODS[method].layout
        network = without_dropout(layout)
        state = published_state(method, seed)
        variables, unused = from_published(state, network.shapes(), layout, "recipe")
        return network, variables, unused

    return build


def without_dropout(layout: Layout) -> Network:
    """The network of a published file, without dropout."""
    model = {**layout.model, "dropout": 0.0, "visual_dropout": 0.0}
    return dataclasses.replace(layout, model=model).file_network()


@pytest.fixture(scope="session")
def recipe_batch():
    """(videos, seed, streams) -> a training batch of the recipe's features, pooled to segments."""

    def batch(videos: int, seed: int, streams: str = "base") -> dict:
        drawn = recipe.inputs(streams, videos, seed)
        arrays = [drawn[name] for name in ("audio", "video_s", "video_st")]
        features = {
            role: pool_to_segments(STREAMS[name], LLP, array)
            for role, name, array in zip(ROLES, STREAM_SETS[streams], arrays, strict=True)
        }
        weight = np.ones(videos, np.float32)
        batch = {"features": features, "weight": weight, "step": 0}
        batch["pseudo_label"] = {m: drawn[f"{m}_pseudo"] for m in MODALITIES}
        return batch | {"weak_label": drawn["label"], "targets": targets(drawn["label"])}

    return batch


SMALL_MODEL = {
    "width": 16,
    "heads": 2,
    "feed_forward": 24,
    "layers": 1,
    "dropout": 0.1,
    "visual_dropout": 0.0,
    "order": "parallel",
    "norm": "post",
    "cross_attention": True,
    "dtype": "float32",
}


@pytest.fixture
def small_model() -> dict:
    """Keyword arguments of a Parser that computes in no time."""
    return dict(SMALL_MODEL)


@pytest.fixture(scope="session")
def published_folder(tmp_path_factory) -> pathlib.Path:
    """Nine videos in the published layout, with all features and teachers' labels."""
    return write_published(tmp_path_factory.mktemp("llp") / "DATA", pseudo_labels=True)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Where those are prepared, by the first test that reads them."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="session")
def other_tasks(tmp_path_factory) -> pathlib.Path:
    """A data_dir with llp/chimes (another task) and llp/clip_b32 (another width); read it only."""
    return prepare_others(tmp_path_factory.mktemp("other_tasks"))


@pytest.fixture(scope="session")
def small_config(published_folder, data_dir):
    """(method, variant) -> its config on the nine videos with a small network, two epochs."""

    def make(method: str, variant: str = ""):
        config = importlib.import_module(f"configs.{method}").get_config(variant)
        config.data.data_dir, config.data.manual_dir = str(data_dir), str(published_folder)
        for name in {"model", "audio_net", "video_net"} & set(config):
            config[name].feed_forward = 16
        for section in [config, config.base] if "base" in config else [config]:
            section.train.epochs = section.train.batch_size = 2
        config.model.width = 16
        config.train.save_seconds = 0.0
        return config

    return make


@pytest.fixture
def config(small_config):
    """HAN's small config."""
    return small_config("han")


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Drops a module's compiled programs: thousands of them exhaust a process's memory maps."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compile():
    """Programs that run for a moment compile in half the time without XLA's optimizations."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def launch():
    """Runs launch.py with arguments in a process of its own; returns what it did."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": _CACHE.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # as quick_compile does here
    }

    def run(*arguments: str, start=subprocess.run, extra=None, **options):
        command = [sys.executable, str(ROOT / "launch.py"), *arguments]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return start(command, env=environment | (extra or {}), cwd=ROOT, **options)

    return run
