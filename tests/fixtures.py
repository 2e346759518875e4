"""Fixtures shared by the tests: golden numbers, published weights, small data."""

import contextlib
import ctypes
import dataclasses
import fcntl
import functools
import importlib
import io
import json
import logging
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis
import jax
import numpy as np
import pytest
import recipe
import recipe_next
from jaxtyping import install_import_hook
from ml_collections import ConfigDict

import tests.checking  # noqa: F401  the hook finds it by name

sys.modules["clu.metric_writers"] = None  # see the fixture tensorboard
untimed = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("untimed", **untimed)  # machines are busy
hypothesis.settings.load_profile("untimed")
logging.disable(logging.CRITICAL)  # launch.py too keeps to itself what libraries log

# In the tests every annotation holds at run time. The hook changes what is imported after it.
install_import_hook(["avvp_jax", "tfds_llp"], "tests.checking.checked")

from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.han import method as han
from avvp_jax.methods.targets import targets
from avvp_jax.modes import run as run_mode
from avvp_jax.nn.functional import Network
from avvp_jax.streams import ROLES, STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import LLP, MODALITIES
from tests.compilation import many_programs
from tests.platforms import branch_for
from tests.programs import still
from tests.tfds_llp.other_task import prepare_others
from tests.tfds_llp.published_folder import write_published

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """name -> the arrays of tests/golden/NAME.npz."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


def golden_shapes() -> dict[str, dict[str, list[int]]]:
    """Name of a network -> the names and shapes of its published tensors."""
    files = ("shapes.json", "next/shapes_next.json")
    return {k: x for file in files for k, x in json.loads((GOLDEN / file).read_text()).items()}


@pytest.fixture(scope="session")
def published_state():
    """(method, seed) -> a published state_dict, recreated by the recipe."""
    shapes = golden_shapes()
    shapes["dhhn"] = shapes["dhhn_hcmn"]  # the network in each of DHHN's files

    def state(method: str, seed: int) -> dict[str, np.ndarray]:
        draw = recipe_next.leap_weight if method == "leap" else recipe.weight
        own = {name: tuple(shape) for name, shape in shapes[method].items()}
        firsts = METHODS[method].layout.aliases(own) if method in METHODS else {}
        return {name: draw(firsts.get(name, name), shape, seed) for name, shape in own.items()}

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
    rates = {name: 0.0 for name in layout.model if name.endswith("dropout")}
    model = {**layout.model, **rates}
    return dataclasses.replace(layout, model=model).file_network()


@pytest.fixture(scope="session")
def recipe_batch():
    """(videos, seed, streams) -> a training batch of the recipe's features, pooled to segments.

    With `pooled=False` the frames of a segment are not averaged.
    """

    def batch(videos: int, seed: int, streams: str = "base", pooled: bool = True) -> dict:
        drawn = recipe.inputs(streams, videos, seed)
        arrays = [drawn[name] for name in ("audio", "video_s", "video_st")]
        features = {
            role: pool_to_segments(STREAMS[name], LLP, array)
            for role, name, array in zip(ROLES, STREAM_SETS[streams], arrays, strict=True)
        }
        if not pooled:
            features["visual"] = arrays[1].reshape(videos, LLP.segments, -1, arrays[1].shape[-1])
        weight = np.ones(videos, np.float32)
        batch = {"features": features, "weight": weight, "step": 0, "step_of_epoch": 0}
        batch["pseudo_label"] = {m: drawn[f"{m}_pseudo"] for m in MODALITIES}
        return batch | {"weak_label": drawn["label"], "targets": targets(drawn["label"])}

    return batch


SMALL_MODEL = han.MODEL | {"width": 16, "heads": 2, "feed_forward": 24}


@pytest.fixture
def small_model() -> dict:
    """Keyword arguments of a Parser that computes in no time."""
    return dict(SMALL_MODEL)


@pytest.fixture(scope="module")
def on_a_cpu() -> Iterator[None]:
    """Traces no branches for others, which a CPU never compiles: that takes half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.lax, "platform_dependent", branch_for("cpu"))
        yield


@pytest.fixture(scope="session")
def shared(request, tmp_path_factory) -> pathlib.Path:
    """A folder of all processes of this test run."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if hasattr(request.config, "workerinput") else folder) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def made_once(folder: pathlib.Path) -> Iterator[bool]:
    """Says whether `folder` is still to be made; other processes wait meanwhile."""
    done = folder.with_suffix(".done")
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what was left where making it has failed
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def published_folder(shared) -> pathlib.Path:
    """Nine videos in the published layout, with all features and teachers' labels."""
    with made_once(shared / "llp") as now:
        if now:
            write_published(shared / "llp/DATA", pseudo_labels=True)
    return shared / "llp/DATA"


@pytest.fixture(scope="session")
def taught(shared) -> pathlib.Path:
    """weights/ of small CLIP and CLAP, videos/ of known content, and classes.csv; read it only."""
    from tests.encoders import made_up_towers, told_videos  # here: few tests need them

    with made_once(shared / "taught") as now:
        if now:
            made_up_towers.write(shared / "taught/weights")
            (shared / "taught/videos").mkdir()
            for name, timelines in told_videos.VIDEOS.items():
                told_videos.write_video(shared / f"taught/videos/{name}.mkv", *timelines)
            told_videos.write_classes(shared / "taught/classes.csv")
    return shared / "taught"


@pytest.fixture(scope="session")
def data_dir(shared) -> pathlib.Path:
    """Where those are prepared, by the first test that reads them."""
    return shared / "tfds"


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
        for name in {"audio_net", "video_net"} & set(config):
            config[name].layers = config[name].repeats = 1
        for section in [config, *(config[x] for x in ("base", "estimator") if x in config)]:
            section.train.epochs = 2
        for section in [config, config.base] if "base" in config else [config]:
            section.train.batch_size = 2
        config.model.width, config.model.layers = 16, 1
        if "class_width" in config.model:
            config.model.class_width = 8
        config.train.save_seconds = 0.0
        if "leap" in config:
            config.leap.made_up_embeddings, config.model.levels = True, 1
        config.seed = max(config.seed, 1)  # so that there is one before, see `finished`
        still(config)
        return config

    return make


@pytest.fixture
def config(small_config):
    """HAN's small config."""
    return small_config("han")


@pytest.fixture(scope="module")
def tensorboard():
    """For tests that write for TensorBoard too, which takes time, where TensorFlow is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "clu.metric_writers")
        yield


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Programs are kept until there are too many.

    After each file the C library returns what is free, of which it keeps gigabytes otherwise.
    """
    yield
    if many_programs():
        jax.clear_caches()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


class Finished(NamedTuple):
    """A finished run, for tests to read and to copy, but to leave as it is."""

    config: ConfigDict
    workdir: pathlib.Path
    printed: str


@pytest.fixture(scope="session")
def finished(small_config, shared):
    """(method, variant, seeds) -> a finished run of its small config; each is trained once.

    Two seeds are the one before the config's, and the config's.
    """

    @functools.cache
    def train(method: str, variant: str = "", seeds: int = 1) -> Finished:
        config = small_config(method, variant)
        config.num_seeds = seeds
        config.seed -= seeds == 2
        folder = shared / f"finished {method} {variant} {seeds}"
        with made_once(folder) as now:
            if now:
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    run_mode(config, str(folder / "W"), "train")
                (folder / "printed").write_text(printed.getvalue())
        return Finished(config, folder / "W", (folder / "printed").read_text())

    return train
