"""What a run says where JAX computes on another kind of device than one might expect.

JAX starts its devices once in a process, so the cases have a process of their own, which forgets
them in between.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.launching import launch

PLUGIN = """
import os

def initialize():
    if "BROKEN" in os.environ:
        raise RuntimeError("Unable to load cuDNN.\\n  Is it installed?")
"""
STARTING = """
import contextlib, io, json, os, sys
import jax
from absl import logging
from jax._src import hardware_utils, xla_bridge
from jax.extend.backend import clear_backends
from avvp_jax.errors import UserError
from avvp_jax.runtime import platforms, processes

logging.use_absl_handler()
logging.set_verbosity(logging.FATAL)  # as in launch.py
before, default = dict(os.environ), jax.default_backend

def fail():
    raise ValueError("the driver is too old")

def said(gpu=False, tpu=False, start=False, used=None, index=0, **environment):
    clear_backends()
    xla_bridge._plugins_registered = False
    os.environ.clear()
    os.environ.update(before | environment)
    for name in ("jax_platforms", "jax_platform_name"):
        jax.config.update(name, environment.get(name.upper(), ""))
    hardware_utils._NVIDIA_GPU_DEVICES = ["/"] if gpu else []
    hardware_utils.num_available_tpu_chips_and_device_id = lambda: (4 * tpu, None)
    xla_bridge._backend_factories.pop("broken", None)
    if start:
        xla_bridge.register_backend_factory("broken", fail, priority=500, fail_quietly=False)
    jax.default_backend = lambda: default() and (used or default())
    processes.first = lambda: index == 0
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        try:
            platforms.start()
        except UserError as error:
            return f"UserError: {error}\\n"
    return printed.getvalue()

print(json.dumps({name: said(**case) for name, case in json.loads(sys.argv[1]).items()}))
"""
NO_PLUGIN = "An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not"
BROKEN = "jax_plugins.broken.initialize(): Unable to load cuDNN. Is it installed?"
CASES = {
    "a CPU alone": ({}, ""),
    "no plugin": ({"gpu": True}, f"warning: this run uses the CPU: {NO_PLUGIN}"),
    "a TPU": ({"tpu": True}, "A Google TPU may be present"),
    "a plugin that fails": ({"gpu": True, "BROKEN": "1"}, BROKEN),
    "the same, seen by no device": ({"BROKEN": "1"}, BROKEN),
    "an empty JAX_PLATFORMS": ({"gpu": True, "JAX_PLATFORMS": ""}, NO_PLUGIN),
    "the CPU is meant": ({"gpu": True, "JAX_PLATFORMS": "cpu"}, ""),
    "the CPU is meant, in another way": ({"gpu": True, "JAX_PLATFORM_NAME": "cpu"}, ""),
    "GPUs are hidden": ({"gpu": True, "CUDA_VISIBLE_DEVICES": ""}, ""),
    "another process": ({"gpu": True, "index": 1}, ""),
    "a device is used": ({"gpu": True, "BROKEN": "1", "used": "gpu"}, ""),
    "a device does not start": ({"start": True}, "UserError: JAX cannot use the accelerator"),
    "its reason": ({"start": True}, "(Unable to initialize backend 'broken': the driver is too"),
    "no GPU": ({"JAX_PLATFORMS": "cuda"}, "UserError: JAX_PLATFORMS=cuda: JAX cannot compute"),
    "its reason too": ({"JAX_PLATFORMS": "cuda"}, "(there is no such device on this machine)"),
    "no plugin for a GPU": (
        {"gpu": True, "JAX_PLATFORMS": "cuda"},
        "UserError: JAX_PLATFORMS=cuda",
    ),
    "its plugin fails": ({"BROKEN": "1", "JAX_PLATFORMS": "cuda,cpu", "gpu": True}, BROKEN),
    "any GPU": ({"JAX_PLATFORMS": "gpu"}, "UserError: JAX_PLATFORMS=gpu"),
    "rocm": ({"JAX_PLATFORMS": "rocm"}, "UserError: JAX_PLATFORMS=rocm"),
    "nonsense": ({"JAX_PLATFORMS": "cudaa"}, "UserError: JAX_PLATFORMS=cudaa"),
    "a list": ({"JAX_PLATFORMS": "metal,cpu"}, "UserError: JAX_PLATFORMS=metal,cpu"),
    "a space": ({"JAX_PLATFORMS": " cpu"}, "UserError: JAX_PLATFORMS= cpu"),
    "its older name": ({"JAX_PLATFORM_NAME": "gpu"}, "UserError: JAX_PLATFORM_NAME=gpu"),
    "what JAX passes over": ({"JAX_PLATFORMS": "cuda,cpu"}, ""),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Case -> what was printed or raised."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "jax_plugins/broken").mkdir(parents=True)
    (folder / "jax_plugins/broken/__init__.py").write_text(PLUGIN)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    asked = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "CUDA_VISIBLE_DEVICES")
    environment = {k: v for k, v in os.environ.items() if k not in asked} | {"PYTHONPATH": path}
    cases = json.dumps({name: case for name, (case, _) in CASES.items()})
    command = [sys.executable, "-c", STARTING, cases]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_the_kind_of_device(said, case):
    expected = CASES[case][1]
    assert said[case].count("\n") == bool(expected)
    assert expected in said[case]
    if expected:
        assert "JAX_PLATFORMS=cpu" in said[case] and "Falling back" not in said[case]


def test_a_platform_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    flags = ["--config=configs/han.py:synthetic", f"--workdir={tmp_path}/W"]
    result = launch(*flags, tensorflow=True, extra={"JAX_PLATFORMS": "cudaa"})
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("launch.py: JAX_PLATFORMS=cudaa: JAX cannot compute on that")
    assert not list(tmp_path.iterdir())
