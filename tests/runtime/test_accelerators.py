"""Programs compiled for accelerators that are only described show what a CPU cannot.

Run alone, with what the targets need in a folder of its own: see .ci/run.
"""

import os
import pathlib
import sys

import jax
import pytest

from avvp_jax.nn.layers import PRECISIONS
from tests.on_devices import run_of

sys.path.append(str(pathlib.Path(__file__).parent.parent.parent / "benchmarks"))
import hlo  # noqa: E402
import lowering  # noqa: E402
from targets import NotInstalled, target  # noqa: E402

# With two seeds, the four chips share out each seed's batches in two, the eight GPUs in four.
CASES = [(name, method) for name in ("v5e:2x2", "h100") for method in ("han", "ma", "jomold")]
CASES += [(name, method) for name in ("v5e:2x2", "h100") for method in ("valor", "dhhn")]
CASES += [(name, method) for name in ("v5e:2x2", "h100") for method in ("mm_cse", "cmpae")]
CASES += [("h100", "leap")]  # for a TPU its levels take minutes to compile
CASES += [("h100x8", "han"), ("v5e:2x2", "valor-plus")]
CASES = [(name, method, 10) for name, method in CASES]
# Attention of more than 16 segments is of products on a TPU too.
LONGER = [("han", 17), ("valor-plus", 60), ("dhhn", 40)]
CASES += [(name, *case) for name in ("v5e:2x2", "h100") for case in LONGER]
# Products of cuBLAS, whose precision is read, and annotations of a TPU's compiler.
KERNELS = {"__cublas$gemm", "__cublas$lt$matmul", "AllocateBuffer", "AssumeGatherIndicesInBound"}
KERNELS |= {"ConcatBitcast", "GatherScatterIndicesBitpacked"}
VIDEOS = 64
NEEDED = "AVVP_NEED_ACCELERATORS"  # set where a skipped test would be a mistake


def installed(name: str):
    """A target; the test is skipped where what compiles for it is not there."""
    found = target(name)
    try:
        found.devices()
    except NotInstalled as missing:
        if NEEDED in os.environ:
            raise
        pytest.skip(str(missing))
    return found


def job_of(method: str, folder: pathlib.Path, precision: str = "highest", segments: int = 10):
    run, stage = run_of(method, folder, segments)
    run.config.model.precision = precision
    if method == "valor-plus":
        run.config.model.layers = 2  # a loop in a TPU's program
    return stage.job(run)


@pytest.mark.parametrize(("name", "method", "segments"), CASES)
def test_training_is_of_float32_and_shared_out(name, method, segments, tmp_path):
    """Every product has full precision, nothing is double, nothing calls the host."""
    accelerator, job = installed(name), job_of(method, tmp_path, segments=segments)
    mesh = accelerator.mesh(len(job.seeds))
    program = accelerator.compile(lowering.training(job, mesh, VIDEOS))
    optimised = hlo.read(program.as_text())
    assert set(hlo.product_precisions(optimised)) == {"highest"}
    assert not hlo.has_double_precision(optimised) and not hlo.has_half_precision(optimised)
    assert not hlo.has_callbacks(optimised)
    assert hlo.called_kernels(optimised) <= KERNELS
    state, arrays, data, *_ = program.input_shardings[0]
    assert all(x.spec[0] == "seeds" for x in jax.tree.leaves(state))
    assert all(x.is_fully_replicated for x in jax.tree.leaves(arrays))
    assert tuple(data.order.spec) == ("seeds", None, "batch")
    batch_is_shared_out = mesh.shape["batch"] > 1
    assert ("all-reduce" in hlo.collectives(optimised)) == batch_is_shared_out


def test_features_from_disk_are_shared_out(tmp_path):
    """As CMPAE's frames would be, which a v5e cannot keep; the program has no other features."""
    accelerator, job = installed("v5e:2x2"), job_of("han", tmp_path)
    mesh = accelerator.mesh(len(job.seeds))
    lowered = lowering.training(job, mesh, VIDEOS, stored=True)
    _, arrays, data, *_ = lowered.in_avals[0]
    assert not arrays.videos.get("features")
    seeds, steps, rows = data.order.shape
    wanted = {
        role: (seeds, steps, rows, *x.shape[1:])
        for role, x in job.data.train.features.arrays.items()
    }
    assert {role: x.shape for role, x in data.block.items()} == wanted
    program = accelerator.compile(lowered)
    placed = program.input_shardings[0][2]
    assert all(tuple(x.spec) == ("seeds", None, "batch") for x in placed.block.values())
    assert hlo.kernels_of_step(hlo.read(program.as_text())) > 0


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["v5e:2x2", "h100"])
def test_the_precision_that_is_asked_for_arrives(name, precision, tmp_path):
    accelerator, job = installed(name), job_of("han", tmp_path, precision)
    mesh = accelerator.mesh(len(job.seeds))
    program = accelerator.compile(lowering.evaluation(job, mesh, VIDEOS))
    asked = {"fastest": "default"}.get(precision, precision)
    assert set(hlo.product_precisions(hlo.read(program.as_text()))) == {asked}
