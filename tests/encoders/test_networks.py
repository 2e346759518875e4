"""The encoders compute what PyTorch computes with the same weights, and mistakes would show."""

import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from avvp_jax.encoders import convolutions, features, r2plus1d, resnet
from avvp_jax.encoders.convolutions import max_pool, normalised
from avvp_jax.encoders.features import distinct, features_of, program_of, through
from avvp_jax.encoders.published import Encoder
from avvp_jax.nn.functional import make_network
from tests.encoders import networks as net

CASES = [("small", name) for name in net.SMALL] + [
    pytest.param("full", name, marks=pytest.mark.golden) for name in net.FULL
]
NAMES = {"highest": "HIGHEST", "high": "HIGH", "fastest": "DEFAULT"}


@pytest.mark.parametrize(("size", "name"), CASES)
def test_every_stage_and_the_features_are_those_of_pytorch(size, name):
    case = (net.SMALL if size == "small" else net.FULL)[name]
    network, expected = case.network, case.expected()

    @jax.jit
    def run(variables, x):
        module, sizes = network.module(variables), {}
        stages = {}
        for stage, value in module.stages(x):
            # The last block of a layer stands for the layer too.
            for each in (stage, stage.partition(".")[0]):
                stages[each] = net.summary(value)
                sizes[each] = value[0].size
            last = value
        run.sizes = sizes
        output = last if last.ndim == 2 else last.mean(range(1, last.ndim - 1), dtype="float32")
        return output, stages

    output, stages = jax.device_get(run(case.variables(), case.input()))
    compared = [each for each in expected if each.startswith("stage/")]
    assert compared
    for each in compared:
        stage = each.removeprefix("stage/")
        found, wanted = stages[stage], expected[each]
        np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=net.NORM_LIMIT, err_msg=each)
        rms = wanted[:, :1] / run.sizes[stage] ** 0.5
        assert (np.abs(found - wanted)[:, 1:] <= net.ENTRY_LIMIT * rms).all(), each
    wanted = expected["output"]
    assert net.l2_error(output, wanted) < net.L2_LIMIT
    assert np.abs(output - wanted).max() < net.LARGEST_LIMIT * np.sqrt(np.mean(wanted**2))
    if size == "small":
        # What is called does the same as its stages.
        called = jax.jit(lambda variables, x: network.module(variables)(x))
        np.testing.assert_allclose(
            called(case.variables(), case.input()), output, rtol=1e-5, atol=1e-6
        )


def same_padding(monkeypatch, chosen):
    """Convolutions for which `chosen(kernel shape, strides)` pad as other libraries do."""
    convolve = jax.lax.conv_general_dilated

    def padded(x, kernel, strides, padding, **options):
        padding = "SAME" if chosen(kernel.shape, strides) else padding
        return convolve(x, kernel, strides, padding, **options)

    monkeypatch.setattr(jax.lax, "conv_general_dilated", padded)


def pool_same(monkeypatch):
    def pool(x, size, stride, padding):
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-jnp.inf)
        return max_pool(x, size, stride, 0)

    monkeypatch.setattr(resnet, "max_pool", pool)


def pool_zeros_at_edges(monkeypatch):
    """VGGish with edges repeated instead of zeros."""
    convolve = jax.lax.conv_general_dilated

    def edges(x, kernel, strides, padding, **options):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        return convolve(x, kernel, strides, "VALID", **options)

    monkeypatch.setattr(jax.lax, "conv_general_dilated", edges)


def stride_first(module):
    for index in (2, 3, 4):
        block = getattr(module, f"layer{index}")[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def drop_block(module):
    module.layer2 = nnx.List(list(module.layer2)[:-1])


def flatten_channels_first(module):
    weight = module.fc1_1.weight[...]
    kernel = weight.reshape(len(weight), 6, 4, -1)
    module.fc1_1.weight = nnx.Param(kernel.transpose(0, 3, 1, 2).reshape(weight.shape))


def swap_axes(module):
    module.conv1.kernel = nnx.Param(module.conv1.kernel[...].transpose(1, 0, 2, 3))


def epsilon(value):
    return lambda patch: patch.setattr(convolutions, "NORM_EPSILON", value)


def same(chosen):
    return functools.partial(same_padding, chosen=chosen)


def order(*frames):
    return lambda x: x[:, list(frames)]


# What is patched, done to the module, or done to the input.
MISTAKES = {
    ("resnet152", "epsilon 1e-3"): {"patch": epsilon(1e-3)},
    ("resnet152", "epsilon 1e-6"): {"patch": epsilon(1e-6)},
    ("resnet152", "SAME in conv1"): {"patch": same(lambda kernel, _: kernel[0] == 7)},
    ("resnet152", "SAME in 3x3"): {
        "patch": same(lambda kernel, strides: kernel[0] == 3 and strides == (2, 2))
    },
    ("resnet152", "SAME in the max-pool"): {"patch": pool_same},
    ("resnet152", "stride on the first 1x1"): {"module": stride_first},
    ("resnet152", "BGR"): {"input": lambda x: x[..., ::-1]},
    ("resnet152", "a block missing"): {"module": drop_block},
    ("r2plus1d", "epsilon 1e-3"): {"patch": epsilon(1e-3)},
    ("r2plus1d", "epsilon 1e-6"): {"patch": epsilon(1e-6)},
    ("r2plus1d", "frames reversed"): {"input": lambda x: x[:, ::-1]},
    ("r2plus1d", "two frames swapped"): {"input": order(0, 1, 2, 4, 3, 5, 6, 7)},
    ("r2plus1d", "SAME in time"): {"patch": same(lambda _, strides: strides == (2, 1))},
    ("vggish", "channels flattened first"): {"module": flatten_channels_first},
    ("vggish", "axes swapped in conv1"): {"module": swap_axes},
    ("vggish", "edge padding"): {"patch": pool_zeros_at_edges},
}


@pytest.mark.parametrize(("name", "mistake"), MISTAKES, ids=str)
def test_a_mistake_would_leave_the_limits(name, mistake, monkeypatch):
    case, what = net.SMALL[name], MISTAKES[name, mistake]
    if "patch" in what:
        what["patch"](monkeypatch)
    module = case.network.module(case.variables())
    if "module" in what:
        what["module"](module)
    x = what.get("input", lambda x: x)(case.input())
    graph, state = nnx.split(module)  # weights in the program would be folded for seconds
    output = np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x))
    assert net.l2_error(output, case.expected()["output"]) > 10 * net.L2_LIMIT


def test_the_last_relu_of_vggish_stays():
    full = net.FULL["vggish"].expected()
    np.testing.assert_array_equal(np.maximum(full["before_last_relu"], 0), full["output"])
    assert net.l2_error(full["before_last_relu"], full["output"]) > 10 * net.L2_LIMIT


@pytest.mark.parametrize("precision", NAMES)
@pytest.mark.parametrize("name", net.SMALL)
def test_every_product_has_the_precision(name, precision):
    case = net.SMALL[name]
    network = make_network(case.kind, *case.arguments, precision=precision)
    for ours in ("bfloat16", "float32"):
        with jax.default_matmul_precision(ours):
            products = net.precisions_of(network, case.input())
    kinds = [kind for kind, _ in products]
    assert len(products) > 8 and kinds.count("convolution") > 5
    assert all(each == [NAMES[precision]] * 2 for _, each in products)


@pytest.mark.parametrize("name", net.SMALL)
def test_bfloat16_is_near_float32(name):
    case = net.SMALL[name]
    network = make_network(case.kind, *case.arguments, dtype="bfloat16")
    output = jax.jit(lambda variables, x: network.module(variables)(x))(
        case.variables(), case.input()
    )
    assert output.dtype == jnp.float32
    assert 1e-4 < net.l2_error(np.asarray(output), case.expected()["output"]) < 0.05


@pytest.mark.parametrize(("kind", "name"), [(resnet, "resnet152"), (r2plus1d, "r2plus1d")])
def test_pictures_of_bytes_are_normalised_by_channel(kind, name):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3), np.uint8)
    found = np.asarray(jax.jit(lambda x: normalised(x, kind.MEAN, kind.STD))(pictures))
    for channel in range(3):
        exact = (pictures[..., channel] / 255 - kind.MEAN[channel]) / kind.STD[channel]
        np.testing.assert_allclose(found[..., channel], exact, rtol=2e-6, atol=1e-6)
    case = net.SMALL[name]

    @jax.jit
    def both(variables, x):
        module = case.network.module(variables)
        return module.features(x), module(normalised(x, kind.MEAN, kind.STD))

    found, wanted = both(case.variables(), pictures[0] if name == "resnet152" else pictures)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shown", [[0], [0, 0, 0], [0, 1, 1, 0, 2, 2], [0, 1, 2, 3]])
def test_equal_neighbours_are_kept_once(shown):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3), np.uint8)
    rows = pictures[shown]
    kept, place = distinct(rows)
    assert len(kept) == 1 + sum(a != b for a, b in itertools.pairwise(shown))
    np.testing.assert_array_equal(kept[place], rows)


def test_a_cpu_computes_parts_side_by_side_and_returns_them_in_order(monkeypatch):
    monkeypatch.setattr(features, "_threads", lambda: ThreadPoolExecutor(2))
    rows, others = np.arange(5, dtype=np.float32)[:, None], threading.Event()

    def doubled(variables, part):
        if part[0] == 0:  # the first part ends after another has begun
            assert others.wait(60)
        else:
            others.set()
        return 2 * jnp.asarray(part)

    np.testing.assert_array_equal(through(doubled, 2, {}, rows), 2 * rows)

    def failing(variables, part):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        through(failing, 2, {}, rows)


def test_max_pool_pads_with_nothing():
    x = -1.0 - np.random.default_rng(0).random((1, 5, 6, 2)).astype("f4")
    wanted = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), 3, 2, 1), wanted)


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("name", net.SMALL)
def test_the_features_of_a_stream_are_those_of_its_network(name, accelerator, monkeypatch):
    """Of rows of which some come twice, in as many parts as the device takes."""
    case = net.SMALL[name]
    monkeypatch.setattr(Encoder, "network", lambda *_: case.network)
    if accelerator:
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    program_of.cache_clear()
    shape = {"resnet152": (6, 32, 32, 3), "r2plus1d": (3, 8, 16, 16, 3), "vggish": (11, 96, 64)}
    rows = np.random.default_rng(0).integers(0, 256, shape[name], np.uint8)
    rows = np.concatenate([rows[:1], rows])
    rows = (rows / 64 - 2).astype(np.float32) if name == "vggish" else rows
    found = features_of(name, case.variables(), rows)
    program_of.cache_clear()
    run = jax.jit(lambda variables, x: case.network.module(variables).features(x))
    wanted = run(case.variables(), rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
