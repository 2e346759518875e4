"""A short clip among longer ones is, for every part of a network, the clip alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from avvp_jax.nn import attention
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.functional import make_network
from avvp_jax.nn.hierarchy import SCALES, CombinedParser, HierarchicalParser, resized
from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.layers import Arithmetic, BatchNorm, TimeConvolution
from avvp_jax.nn.parser import Parser
from avvp_jax.nn.pooling import PROBABILITIES
from avvp_jax.nn.time_mask import present
from tests.fixtures import SMALL_MODEL
from tests.short_clips import LENGTHS, SEGMENTS, assert_close, cut, drawn, spoilt

EXACT = Arithmetic.named("float32", "highest")
WIDTHS = {"audio": 6, "visual": 7, "snippet": 5}
CLASSES = 4
FEW = (5, 1, 7)


def as_on_a_tpu(monkeypatch) -> None:
    """Programs take the branch for a TPU: sums in attention, and a loop over layers."""
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *x, tpu, default: tpu(*x))


def streams(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def same_as_alone(attend, *inputs: np.ndarray, axis: int) -> None:
    """Outputs and gradients of clips together, garbage behind them, and of each alone.

    Args:
      attend: arrays, lengths -> outputs, of which those that are there count.
      inputs: arrays of all clips.
      axis: of time in all of them.
    """
    lengths = np.array(FEW)

    def total(inputs, lengths):
        found = attend(*inputs, lengths)
        kept = found if lengths is None else jnp.where(present(lengths, found, axis), found, 0)
        return jnp.sin(kept).sum(), found

    both = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, found), slopes = both(inputs, lengths)
    for row, length in enumerate(FEW):
        part = (slice(row, row + 1), *[slice(None)] * (axis - 1), slice(length))
        behind = (row, *[slice(None)] * (axis - 1), slice(length, None))
        alone = tuple(x[part] for x in inputs)
        (_, wanted), wanted_slopes = both(alone, None)
        assert_close(found[part], wanted)
        assert_close(tuple(x[part] for x in slopes), wanted_slopes)
        assert not any(x[behind].any() for x in slopes)


@pytest.mark.parametrize("path", ["products", "sums", "many"])
@pytest.mark.parametrize("kind", ["itself", "each other", "context"])
def test_attention_is_to_the_steps_that_are_there(kind, path, monkeypatch):
    if path == "sums":
        as_on_a_tpu(monkeypatch)
    monkeypatch.setattr(attention, "_MANY_STEPS", 1 if path == "many" else 64)
    layer = Attention(8, 2, dropout=0.0, arithmetic=EXACT, rngs=nnx.Rngs(0))
    layer.in_bias[...] = streams(1, 24)
    if kind == "itself":
        x = streams(2, 3, 4, SEGMENTS, 8)  # four streams of each video
        same_as_alone(lambda x, n: layer.to_itself(x, lengths=n), x, axis=2)
    elif kind == "each other":
        x = streams(2, 3, 2, SEGMENTS, 8)
        same_as_alone(lambda x, n: layer.to_each_other(x, lengths=n), x, axis=2)
    else:
        x, y = streams(2, 2, 3, SEGMENTS, 8)
        same_as_alone(lambda x, y, n: layer.to_context(x, y, lengths=n), x, y, axis=1)


@pytest.mark.parametrize(
    ("order", "norm", "cross", "on_a_tpu"),
    [
        ("parallel", "post", True, False),
        ("parallel", "pre", True, True),
        ("parallel", "post", False, True),
        ("sequential", "post", True, True),
        ("sequential", "pre", False, False),
    ],
)
def test_encoders_of_every_kind(order, norm, cross, on_a_tpu, monkeypatch):
    if on_a_tpu:
        as_on_a_tpu(monkeypatch)
    kinds = {"dropout": 0.0, "order": order, "norm": norm, "arithmetic": EXACT}
    encoder = HybridEncoder(8, 2, 12, 2, **kinds, rngs=nnx.Rngs(0))
    encode = encoder if cross else encoder.without_cross_attention

    def both(audio, visual, lengths):
        return jnp.stack(encode(audio, visual, lengths=lengths), axis=-1)

    same_as_alone(both, *streams(3, 2, 3, SEGMENTS, 8), axis=1)


@settings(max_examples=10)
@given(st.lists(st.integers(1, SEGMENTS), min_size=1, max_size=4), st.integers(0, 2))
def test_batch_norm_counts_the_steps_that_are_there(lengths, padding):
    """As one video of all rows that are there would; videos of weight 0 do not count."""
    ours, theirs = (BatchNorm(3, dtype=jnp.float32) for _ in range(2))
    rng = np.random.default_rng(sum(lengths))
    x = 3 * rng.standard_normal((len(lengths) + padding, SEGMENTS, 3), np.float32) + 2
    x = jnp.asarray(spoilt(x, [*lengths, *[0] * padding], size=1e6))
    there = np.arange(SEGMENTS) < np.array(lengths)[:, None]
    rows = x[: len(lengths)][there]
    weight = np.array([1.0] * len(lengths) + [0.0] * padding, np.float32)
    found = ours(x, weight, np.array([*lengths, *[4] * padding]))
    wanted = theirs(rows[None], np.ones(1, np.float32))
    assert_close(found[: len(lengths)][there], wanted[0])
    assert_close(nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(theirs)))
    assert np.isfinite(ours.var[...]).all()


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_of_a_short_clip_is_that_of_the_clip_alone(scale):
    """As many steps, zeros around its own ends, and resized by its own length."""
    lengths = np.array([1, 2, 3, 5, 6, 8, 11, 12])
    layer = TimeConvolution(4, *scale, arithmetic=EXACT, rngs=nnx.Rngs(0))
    x = jnp.asarray(spoilt(streams(4, len(lengths), 12, 4), lengths))
    found, steps = layer(x, None, lengths), layer.steps(lengths)
    again = resized(found, 12, steps, lengths)
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length], None)
        assert steps[row] == alone.shape[1]
        assert_close(found[row : row + 1, : steps[row]], alone)
        assert_close(again[row : row + 1, :length], resized(alone, int(length)))


MODEL = SMALL_MODEL | {"dropout": 0.0, "layers": 2}
NETWORKS = {
    "parser": make_network(Parser, tuple(WIDTHS.values()), CLASSES, **MODEL),
    "sequential": make_network(
        Parser, tuple(WIDTHS.values()), CLASSES, **MODEL | {"order": "sequential", "norm": "pre"}
    ),
    "hierarchy": make_network(HierarchicalParser, tuple(WIDTHS.values()), CLASSES, **MODEL),
    "combined": make_network(CombinedParser, tuple(WIDTHS.values()), CLASSES, MODEL),
}


@pytest.mark.parametrize("name", ["parser", "sequential", "combined"])
def test_probabilities_of_a_short_clip_are_those_of_the_clip_alone(name):
    network, lengths = NETWORKS[name], np.array(LENGTHS)
    variables, features = network.init(jax.random.key(0)), drawn(WIDTHS, LENGTHS)

    @jax.jit
    def parse(features, lengths=None):
        output = network.module(variables)(features, lengths=lengths)
        return {name: output[name] for name in PROBABILITIES if name in output}

    found = parse(features, lengths)
    jax.tree.map(np.testing.assert_array_equal, parse(spoilt(features, lengths), lengths), found)
    for row, length in enumerate(LENGTHS):
        assert_close(cut(found, row, length), parse(cut(features, row, length)))
        assert not found["frame_prob"][row, length:].any()


def ragged(parser: HierarchicalParser, clips: list[dict]) -> list[dict]:
    """DHHN's parser in training, clip by clip; batch norm alone sees the rows of all."""

    def scaled(layer: TimeConvolution, tokens: list[jax.Array]) -> list[jax.Array]:
        norm, layer.norm = layer.norm, lambda x, *_: x
        relu, jax.nn.relu = jax.nn.relu, lambda x: x
        rows = [layer(x, None) for x in tokens]
        layer.norm, jax.nn.relu = norm, relu
        together = norm(jnp.concatenate(rows, axis=1), np.ones(1, np.float32))
        ends = np.cumsum([x.shape[1] for x in rows])[:-1].tolist()
        return [relu(x) for x in jnp.split(together, ends, axis=1)]

    audio = [parser.fc_a(x["audio"]) for x in clips]
    visual = [parser.visual_tokens(x["visual"], x["snippet"]) for x in clips]
    maps, outputs = [(0.0, 0.0)] * len(clips), [[] for _ in clips]
    for hear, see in zip(parser.audio_scales, parser.visual_scales, strict=True):
        scales = zip(scaled(hear, audio), scaled(see, visual), strict=True)
        for clip, pair in enumerate(scales):
            length = audio[clip].shape[1]
            pair = [resized(x, length) for x in parser.encoder(*pair)]
            maps[clip] = tuple(x + y for x, y in zip(maps[clip], pair, strict=True))
            outputs[clip].append(parser.mmil(*maps[clip]))
    mean = [jax.tree.map(lambda *x: sum(x) / len(x), *each) for each in outputs]
    return [{name: x[name] for name in PROBABILITIES} for x in mean]


def test_dhhn_trains_on_short_clips_as_on_each_alone_with_batch_norm_over_all():
    model, lengths = MODEL | {"layers": 1}, np.array(FEW)
    network = make_network(HierarchicalParser, tuple(WIDTHS.values()), CLASSES, **model)
    variables, features = network.init(jax.random.key(0)), drawn(WIDTHS, FEW)
    weight = np.ones(len(FEW), np.float32)

    def total(params, together):
        module = network.module({"params": params, "stats": variables["stats"]})
        if together:
            output = module(spoilt(features, lengths), weight=weight, lengths=lengths)
            outputs = [cut(output, row, length) for row, length in enumerate(FEW)]
        else:
            clips = [cut(features, row, length) for row, length in enumerate(FEW)]
            outputs = ragged(module, clips)
        outputs = [{name: x[name] for name in PROBABILITIES} for x in outputs]
        stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return sum(jnp.sin(3 * x).sum() for x in jax.tree.leaves(outputs)), (outputs, stats)

    both = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    found, wanted = (both(variables["params"], together) for together in (True, False))
    assert_close(found, wanted, tolerance=1e-4)
