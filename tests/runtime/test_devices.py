"""Many devices train what one does. Those of a CPU are simulated, in a process of their own."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from avvp_jax.runtime.mesh import BATCH, SEEDS
from tests.on_devices import METHODS, STREAMED, last_model, rate, train
from tests.weights import assert_same_training

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Trains all methods on eight devices, beside the tests; name of a file there -> its path."""
    folder = tmp_path_factory.mktemp("eight")
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, "-m", "tests.on_devices", str(folder), *METHODS]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)

    def wait_for(name: str) -> pathlib.Path:
        while process.poll() is None and not (folder / name).exists():
            time.sleep(0.1)
        assert (folder / name).exists(), (folder / "log").read_text()[-2000:]
        return folder / name

    yield wait_for
    process.kill()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """method -> its training on one device: the folder, and what each epoch logged."""

    @functools.cache
    def trained(method: str) -> tuple[pathlib.Path, dict]:
        folder = tmp_path_factory.mktemp(method)
        return folder, train(method, folder)

    return lambda method: trained("han" if method == STREAMED else method)


@pytest.mark.parametrize("method", METHODS)
def test_eight_devices_train_as_one(method, eight, one):
    """Batches that do not divide are padded, which changes neither losses nor weights."""
    folder, logged = one(method)
    record = json.loads(eight(f"{method}.json").read_text())
    tolerance = 1e-3 if method.startswith("dhhn") else 1e-4
    for epoch, numbers in logged.items():
        others = record["logged"][str(epoch)]
        for name, value in numbers.items():
            if not name.endswith(("videos_per_second", "train/seconds")):
                np.testing.assert_allclose(others[name], value, rtol=tolerance, err_msg=name)
    models = (last_model(method, place) for place in (folder, eight(method)))
    assert_same_training(*models, moved=rate(method) * 2 * 3)


@pytest.mark.parametrize("method", METHODS)
def test_the_state_is_shared_out_and_gradients_are_summed(method, eight):
    record = json.loads(eight(f"{method}.json").read_text())
    by_seed, whole = str(PartitionSpec(SEEDS)), str(PartitionSpec())
    assert record["state"] == [by_seed]
    assert record["own"] in ([by_seed], [])
    assert record["order"] == [str(PartitionSpec(SEEDS, None, BATCH))]
    assert record["arrays"] == record["rates"] == [whole]
    block = [str(PartitionSpec(SEEDS, None, BATCH))] if method == STREAMED else []
    assert record["block"] == block
    assert "all-reduce" in record["collectives"]


@pytest.mark.parametrize("method", METHODS)
def test_every_product_of_a_training_is_of_float32_on_any_device(method, eight):
    assert json.loads(eight(f"{method}.json").read_text())["precisions"] == ["HIGHEST"]


def test_a_checkpoint_of_eight_devices_goes_on_on_one_and_on_two(eight, tmp_path, capsys):
    two, one = eight("two.done").with_suffix(""), tmp_path / "one"
    assert "going on after epoch 2" in (two.parent / "log").read_text()
    shutil.copytree(eight("han"), one)
    train("han", one, epochs=3)
    assert "going on after epoch 2" in capsys.readouterr().out
    models = (last_model("han", folder) for folder in (one, two))
    assert_same_training(*models, moved=3e-4 * 3)
