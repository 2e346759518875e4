"""The encoders' programs compiled for accelerators that are only described.

Run alone, as tests/runtime/test_accelerators.py.
"""

import pathlib
import sys

import jax
import numpy as np
import pytest

from avvp_jax.encoders import clip, convolutions, htsat, r2plus1d, resnet, vggish
from avvp_jax.nn.functional import make_network
from tests.runtime.test_accelerators import installed

sys.path.append(str(pathlib.Path(__file__).parent.parent.parent / "benchmarks"))
import hlo  # noqa: E402
from encoder_programs import lowered  # noqa: E402

TARGETS = ("v5e:1x1", "h100")
NETWORKS = {
    "resnet152": (resnet.ResNet, (1, 2), 16),
    "r2plus1d": (r2plus1d.R2Plus1D, (1, 1), 16, 12),
    "vggish": (vggish.VGGish, (8, 16, 24, 24, 32, 32), (48, 48, 16)),
    "clip": (clip.VisionTower, 64, 1, 1, 128, 14, 112, 32),
    "clap": (htsat.HTSAT, 16, (2,), (2,), 32),
}
# For a TPU even a small R(2+1)D takes a minute to compile; encoder_programs.py says what it has.
CASES = [(name, stream) for name in TARGETS for stream in NETWORKS if stream != "r2plus1d"]
CASES += [("h100", "r2plus1d")]
ROWS = {
    "resnet152": jax.ShapeDtypeStruct((2, 64, 64, 3), np.uint8),
    "r2plus1d": jax.ShapeDtypeStruct((2, 8, 32, 32, 3), np.uint8),
    "vggish": jax.ShapeDtypeStruct((2, 96, 64), np.float32),
    "clip": jax.ShapeDtypeStruct((2, 112, 112, 3), np.float32),
    "clap": jax.ShapeDtypeStruct((2, 1001, 64), np.float32),
}
KERNELS = {"__cublas$gemm", "__cublas$lt$matmul", "__cudnn$convForward"}
KERNELS |= {"__cudnn$convBiasActivationForward", "AllocateBuffer", "ConcatBitcast"}
KERNELS |= {"AssumeGatherIndicesInBound"}


def compiled(name: str, stream: str, **options) -> hlo.Program:
    """The optimised program of a small encoder's features, for a target."""
    accelerator, (kind, *arguments) = installed(name), NETWORKS[stream]
    network = make_network(kind, *arguments, **options)
    program = jax.jit(lambda variables, rows: network.module(variables).features(rows))
    made = lowered(accelerator, program, network, ROWS[stream])
    return hlo.read(accelerator.compile(made).as_text())


@pytest.mark.parametrize(("name", "stream"), CASES)
def test_features_are_of_float32(name, stream):
    """Every product and convolution has full precision; nothing is double or calls the host."""
    program = compiled(name, stream)
    assert set(hlo.product_precisions(program)) == {"highest"}
    assert not hlo.has_double_precision(program) and not hlo.has_half_precision(program)
    assert not hlo.has_callbacks(program)
    assert hlo.called_kernels(program) <= KERNELS


@pytest.mark.parametrize(
    ("dtype", "precision", "found"),
    [
        ("float32", "high", "high"),
        ("float32", "fastest", "default"),
        ("bfloat16", "highest", "bfloat16"),
    ],
)
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_asked_for_arrives(name, dtype, precision, found):
    program = compiled(name, "vggish", precision=precision, dtype=dtype)
    assert set(hlo.product_precisions(program)) == {found}
    assert not hlo.has_double_precision(program)


@pytest.mark.parametrize("forgotten", [(7, 7), (1, 1)])
@pytest.mark.parametrize("name", TARGETS)
def test_a_convolution_left_to_the_device_is_found(name, forgotten, monkeypatch):
    call = convolutions.Convolution.__call__

    def default(self, x):
        if self.kernel.shape[:2] == forgotten:
            self.arithmetic = convolutions.Arithmetic.named("float32", "fastest")
        return call(self, x)

    monkeypatch.setattr(convolutions.Convolution, "__call__", default)
    found = set(hlo.product_precisions(compiled(name, "resnet152"))) - {"highest"}
    # Operands may have been rounded before, as a TPU does of itself.
    assert found and found <= {"default", "bfloat16"}
