"""A short clip among longer ones is, for every part of a network, the clip alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avvp_jax.methods.mm_cse import method as mm_cse
from avvp_jax.nn import attention
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.nn.functional import make_network
from avvp_jax.nn.hierarchy import SCALES, CombinedParser, HierarchicalParser, resized
from avvp_jax.nn.hybrid import HybridEncoder
from avvp_jax.nn.label_decoder import LabelParser
from avvp_jax.nn.layers import NORM_EPSILON, STATISTICS_STEP, Arithmetic, BatchNorm, TimeConvolution
from avvp_jax.nn.parser import Parser
from avvp_jax.nn.pooling import PROBABILITIES
from avvp_jax.nn.time_mask import present
from tests.fixtures import SMALL_MODEL
from tests.platforms import branch_for
from tests.short_clips import SEGMENTS, assert_close, cut, drawn, spoilt, variables_of

EXACT = Arithmetic.named("float32", "highest")
WIDTHS = {"audio": 6, "visual": 7, "snippet": 5}
CLASSES = 4
FEW = (5, 1, 7)

pytestmark = pytest.mark.usefixtures("on_a_cpu")


def as_on_a_tpu(monkeypatch) -> None:
    """Programs take the branch for a TPU: sums in attention, and a loop over layers."""
    monkeypatch.setattr(jax.lax, "platform_dependent", branch_for("tpu"))


def streams(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def same_as_alone(attend, *inputs: np.ndarray, axis: int) -> None:
    """Outputs and gradients of clips together, other numbers behind them, and of each alone.

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
    """Gradients are those of attention, in which alone steps meet, and of losses; see both."""
    if on_a_tpu:
        as_on_a_tpu(monkeypatch)
    kinds = {"dropout": 0.0, "order": order, "norm": norm, "arithmetic": EXACT}
    encoder = HybridEncoder(8, 2, 12, 2, **kinds, rngs=nnx.Rngs(0))
    encode = encoder if cross else encoder.without_cross_attention
    streams_of_all, lengths = streams(3, 2, 2, SEGMENTS, 8), (5, 1)
    encoded = jax.jit(lambda audio, visual, lengths: encode(audio, visual, lengths=lengths))
    found = encoded(*streams_of_all, np.array(lengths))
    for row, length in enumerate(lengths):
        alone = cut(list(streams_of_all), row, length)
        assert_close(cut(found, row, length), encoded(*alone, None))


@jax.jit
def normed(x: jax.Array, weight: jax.Array, lengths: jax.Array) -> tuple[jax.Array, dict]:
    """What a new batch norm gives in training, and its statistics afterwards."""
    layer = BatchNorm(x.shape[-1], dtype=jnp.float32)
    return layer(x, weight, lengths), nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))


videos = st.tuples(st.integers(1, SEGMENTS), st.booleans())


@settings(max_examples=30)
@given(st.lists(videos, min_size=5, max_size=5).filter(lambda x: any(counts for _, counts in x)))
@example([(1, False), (1, True), (4, False), (3, False), (7, False)])  # a single row
@example([(1, True), (1, False), (1, True), (6, False), (7, False)])  # two, one column nearly alike
def test_batch_norm_counts_the_steps_that_are_there(videos):
    """As NumPy of the rows that are there; videos of weight 0 do not count."""
    lengths, weight = (np.array(x) for x in zip(*videos, strict=True))
    rng = np.random.default_rng(lengths.sum())
    x = 3 * rng.standard_normal((len(videos), SEGMENTS, 3), np.float32) + 2
    x = spoilt(x, lengths * weight, size=1e6)
    found, stats = normed(x, weight.astype(np.float32), lengths)
    there = np.arange(SEGMENTS) < (lengths * weight)[:, None]
    rows = x[there].astype(np.float64)
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    # Measured where float32 rounds: of two rows that are nearly equal, dividing shows the rounding.
    assert_close(np.asarray(found)[there] * np.sqrt(var + NORM_EPSILON), rows - mean)
    unbiased = var * len(rows) / max(len(rows) - 1, 1)
    assert_close(stats["mean"], STATISTICS_STEP * mean)
    assert_close(stats["var"], 1 - STATISTICS_STEP + STATISTICS_STEP * unbiased)
    assert stats["count"] == 1


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_of_a_short_clip_is_that_of_the_clip_alone(scale):
    """As many steps, zeros around its own ends, and resized by its own length; by NumPy."""
    lengths, (taps, stride, padding) = np.array([1, 2, 3, 5, 6, 8, 11, 12]), scale
    layer = TimeConvolution(4, *scale, arithmetic=EXACT, rngs=nnx.Rngs(0))
    x = spoilt(streams(4, len(lengths), 12, 4), lengths)
    kernel, whole = np.asarray(layer.taps[...]), jax.jit(lambda x: layer(x, None))(x[-1:])

    @jax.jit
    def scaled(x, lengths):
        found, steps = layer(x, None, lengths), layer.steps(lengths)
        return found, steps, resized(found, 12, steps, lengths)

    found, steps, again = map(np.asarray, scaled(x, lengths))
    for row, length in enumerate(lengths):
        padded = np.pad(x[row, :length], ((padding, padding), (0, 0)))
        starts = range(0, len(padded) - taps + 1, stride)
        sums = [np.einsum("ti,tio->o", padded[i : i + taps], kernel) for i in starts]
        alone = np.maximum(np.array(sums), 0) / np.sqrt(1 + NORM_EPSILON)
        assert steps[row] == len(alone)
        assert_close(found[row, : steps[row]], alone)
        assert_close(again[row, :length], alone[np.arange(length) * len(alone) // length])
    assert_close(whole[0], alone)  # the layer without lengths is the same


MODEL = SMALL_MODEL | {"dropout": 0.0, "width": 8, "feed_forward": 12, "layers": 1}
CLASS_MODEL = {name: MODEL[name] for name in MODEL if name in mm_cse.MODEL} | {"class_width": 6}
SHARED = ("width", "heads", "feed_forward", "dropout", "dtype", "precision")
LABEL_MODEL = {name: MODEL[name] for name in SHARED}
LABEL_MODEL |= {"attention_dropout": 0.0, "label_width": 6, "levels": 2, "layers": 2}
# The encoder's kinds are above.
NETWORKS = {
    "parser": make_network(Parser, tuple(WIDTHS.values()), CLASSES, **MODEL),
    "hierarchy": make_network(HierarchicalParser, tuple(WIDTHS.values()), CLASSES, **MODEL),
    "combined": make_network(CombinedParser, tuple(WIDTHS.values()), CLASSES, MODEL),
    "classes": make_network(ClassParser, tuple(WIDTHS.values()), CLASSES, **CLASS_MODEL),
    "labels": make_network(LabelParser, tuple(WIDTHS.values()), CLASSES, **LABEL_MODEL),
}


@pytest.mark.parametrize("name", ["parser", "combined", "classes", "labels"])
def test_probabilities_of_a_short_clip_are_those_of_the_clip_alone(name):
    network, lengths = NETWORKS[name], np.array(FEW)
    variables, features = variables_of(network), drawn(WIDTHS, FEW)

    @jax.jit
    def parse(features, lengths=None):
        output = network.module(variables)(features, lengths=lengths)
        return {name: output[name] for name in PROBABILITIES if name in output}

    found = parse(features, lengths)
    jax.tree.map(np.testing.assert_array_equal, parse(spoilt(features, lengths), lengths), found)
    for row, length in enumerate(FEW):
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
    few = (6, 1)
    network, lengths = NETWORKS["hierarchy"], np.array(few)
    variables, features = variables_of(network), drawn(WIDTHS, few)
    weight = np.ones(len(few), np.float32)

    def total(params, together):
        module = network.module({"params": params, "stats": variables["stats"]})
        if together:
            output = module(spoilt(features, lengths), weight=weight, lengths=lengths)
            outputs = [cut(output, row, length) for row, length in enumerate(few)]
        else:
            clips = [cut(features, row, length) for row, length in enumerate(few)]
            outputs = ragged(module, clips)
        outputs = [{name: x[name] for name in PROBABILITIES} for x in outputs]
        stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return sum(jnp.sin(3 * x).sum() for x in jax.tree.leaves(outputs)), (outputs, stats)

    both = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    found, wanted = (both(variables["params"], together) for together in (True, False))
    assert_close(found, wanted, tolerance=1e-4)
