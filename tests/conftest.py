"""Fixtures shared by the tests: golden numbers, published weights, small data."""

import contextlib
import dataclasses
import functools
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest
import recipe
from jaxtyping import install_import_hook
from ml_collections import ConfigDict

import tests.checking  # noqa: F401  the hook finds it by name

# In the tests every annotation holds at run time. The hook changes what is imported after it.
install_import_hook(["avvp_jax", "tfds_llp"], "tests.checking.checked")

from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.targets import targets
from avvp_jax.modes import run as run_mode
from avvp_jax.nn.functional import Network
from avvp_jax.streams import ROLES, STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import LLP, MODALITIES
from tests.compilation import CACHE, many_maps
from tests.tfds_llp.other_task import prepare_others
from tests.tfds_llp.published_folder import write_published

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = pathlib.Path(__file__).parent / "golden"
LONGEST = ("test_devices", "test_variants", "test_seeds", "test_other_task", "test_processes")
LONGEST += ("test_chaos", "test_damage", "test_stages", "test_checkpoints", "test_launch")


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
            config[name].feed_forward, config[name].layers = 16, 1
        for name in {"audio_net", "video_net"} & set(config):
            config[name].repeats = 1
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


def pytest_collection_modifyitems(items):
    """The longest files first: a worker that takes one last would be left alone with it.

    Those with golden numbers last, because they compile otherwise.
    """
    places = {name: place for place, name in enumerate(LONGEST)}

    def place(item):
        golden = item.get_closest_marker("golden") is not None
        return golden, places.get(item.path.stem, len(places))

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def _compilation(request):
    """Compiles what runs for a moment in half the time, without most of XLA's optimizations.

    Modules that compare with golden numbers take them all. Programs are kept from module to
    module, until there are so many that they would exhaust a process's memory maps.
    """
    quick = request.node.get_closest_marker("golden") is None
    if jax.config.values["jax_disable_most_optimizations"] != quick or many_maps():
        jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture
def new_programs():
    """For tests that replace a function that is compiled: programs of before and after go."""
    jax.clear_caches()
    yield
    jax.clear_caches()


class Finished(NamedTuple):
    """A finished run, for tests to read and to copy, but to leave as it is."""

    config: ConfigDict
    workdir: pathlib.Path
    printed: str


@pytest.fixture(scope="session")
def finished(small_config, tmp_path_factory):
    """(method, variant, seeds) -> a finished run of its small config; each is trained once."""

    @functools.cache
    def train(method: str, variant: str = "", seeds: int = 1) -> Finished:
        config, printed = small_config(method, variant), io.StringIO()
        config.num_seeds = seeds
        workdir = tmp_path_factory.mktemp(f"finished-{method}") / "W"
        with contextlib.redirect_stdout(printed):
            run_mode(config, str(workdir), "train")
        return Finished(config, workdir, printed.getvalue())

    return train


@pytest.fixture(scope="session")
def launch():
    """Runs launch.py with arguments in a process of its own; returns what it did.

    Without TensorFlow, which takes longer to import than most of these runs, unless asked for.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": CACHE,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # as most tests here
        # Of a program that another process is writing, or was writing when it was killed.
        "PYTHONWARNINGS": "ignore:Error reading persistent compilation cache",
    }

    without_tensorflow = os.pathsep.join(
        filter(None, [str(ROOT / "tests/without_tensorflow"), os.environ.get("PYTHONPATH")])
    )

    def run(*arguments: str, start=subprocess.run, tensorflow=False, extra=None, **options):
        path = {} if tensorflow else {"PYTHONPATH": without_tensorflow}
        command = [sys.executable, str(ROOT / "launch.py"), *arguments]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return start(command, env=environment | path | (extra or {}), cwd=ROOT, **options)

    return run
