"""Accelerators that a program can be compiled for without owning one.

XLA compiles for a device that is described instead of present. What must be installed, without
its dependencies, in the version of the installed JAX:

  TPU     libtpu
  NVIDIA  jax-cuda13-plugin, jax-cuda13-pjrt, and nvidia-cuda-nvcc for its ptxas

JAX must run on the CPU meanwhile (JAX_PLATFORMS=cpu): without a GPU it drops NVIDIA's plugin.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from avvp_jax.runtime.mesh import arranged

# What libtpu asks the machine for, where there is no TPU to ask.
NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no process holds the device
}
# NVIDIA H100 SXM5 as its driver describes it: 132 multiprocessors, compute capability 9.0.
H100 = """
gpu_device_info {
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84942979072
  l2_cache_size: 52428800
  cuda_compute_capability { major: 9 }
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Which kernel of several is fastest cannot be tried without the device.
UNTUNED = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}


class NotInstalled(Exception):
    """What compiles for a target is not there; one line that says what to do."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      name: "h100" or "h100x8", or a TPU's generation and shape, as in "v5e:4x4".
      platform: JAX's name of it.
      packages: what must be installed.
      options: of the compiler.
    """

    name: str
    platform: str
    packages: tuple[str, ...]
    options: Mapping[str, object]

    def devices(self) -> np.ndarray:
        """The described devices.

        Raises:
          NotInstalled: a package is missing, or JAX has dropped it.
          ValueError: there are no TPUs of this shape.
        """
        self._require()
        if self.platform == "tpu":
            # A host has four chips, if nothing else is said.
            alone = {"chips_per_host_bounds": (1, 1, 1)} if self.name.endswith(":1x1") else {}
            try:
                with _environment(NO_TPU):
                    described = topologies.get_topology_desc(self.name, platform="tpu", **alone)
            except jax.errors.JaxRuntimeError as error:
                raise ValueError(f"{self.name}: {str(error).splitlines()[0]}") from None
            return np.array(described.devices)
        count = self.name.partition("x")[2] or "1"
        options = {"topology": f"1x1x{count}", "target_config": H100}
        try:
            described = topologies.get_topology_desc("h100", platform="cuda", **options)
        except NotImplementedError as error:
            raise NotInstalled(f"{self.name}: {error}; try with JAX_PLATFORMS=cpu") from None
        return np.array(described.devices)

    def mesh(self, seeds: int) -> Mesh:
        """The mesh of these devices for seeds that train together."""
        return arranged(self.devices(), seeds)

    def compile(self, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
        """Compiles a program that was lowered for these devices, but without trying kernels."""
        options = dict(self.options)
        if self.platform == "cuda":
            options["xla_gpu_cuda_data_dir"] = _cuda_toolkit()
        return lowered.compile(compiler_options=options)

    def _require(self) -> None:
        """Raises NotInstalled if a package is missing."""
        missing = [package for package, module in self.packages if not _is_there(module)]
        if self.platform == "cuda" and not _cuda_toolkit():
            missing.append("nvidia-cuda-nvcc")
        if missing:
            raise NotInstalled(
                f"{self.name}: to compile for it, pip install --no-deps {' '.join(missing)} "
                f"(those of JAX {jax.__version__})"
            )


def target(name: str) -> Target:
    """The target of a name.

    Raises:
      ValueError: there is none.
    """
    if name in ("h100", "h100x8"):
        plugin = ("jax-cuda13-plugin", "jax_cuda13_plugin")
        client = ("jax-cuda13-pjrt", "jax_plugins.xla_cuda13")
        return Target(name, "cuda", (plugin, client), UNTUNED)
    generation, _, shape = name.partition(":")
    if generation in ("v5e", "v5p", "v6e") and shape:
        return Target(name, "tpu", (("libtpu", "libtpu"),), {})
    raise ValueError(
        f"{name!r} is no target; known: h100, h100x8, v5e:1x1, v5e:2x2, v5p:2x2x4, v6e:4x4"
    )


def installed(names: Sequence[str], parser: argparse.ArgumentParser) -> list[Target]:
    """The targets of a command's --targets; ends it with one line if one cannot be compiled for."""
    try:
        found = [target(name) for name in names]
        for each in found:
            each.devices()
    except (ValueError, NotInstalled) as error:
        parser.error(f"--targets: {error}")
    return found


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that would hold it
        return False


def _cuda_toolkit() -> str:
    """The folder of nvidia-cuda-nvcc, or an empty string where it is not installed."""
    found = importlib.util.find_spec("nvidia")
    folders = found.submodule_search_locations if found else ()
    ptxas = (path for folder in folders or () for path in pathlib.Path(folder).rglob("bin/ptxas"))
    return next((str(path.parent.parent) for path in ptxas), "")


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables that are not set, for a while."""
    new = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]
