"""Losses of clips of several lengths are those of each clip alone, weighted as always."""

import importlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import PyTree

from avvp_jax.methods.cmpae import stages as cmpae
from avvp_jax.methods.cmpae.network import EvidenceParser
from avvp_jax.methods.contrastive import (
    contrastive_logits,
    expected_probability,
    smoothed_cross_entropy,
)
from avvp_jax.methods.dhhn import stages as dhhn
from avvp_jax.methods.han import stages as han
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.methods.jomold.denoising import denoise
from avvp_jax.methods.leap import stages as leap
from avvp_jax.methods.ma import stages as ma
from avvp_jax.methods.ma.estimation import repeated, views
from avvp_jax.methods.mm_cse import stages as mm_cse
from avvp_jax.methods.targets import targets
from avvp_jax.methods.valor import stages as valor
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.nn.functional import Network, make_network, parser_network
from avvp_jax.nn.hierarchy import JointNetworks
from avvp_jax.nn.label_decoder import LabelParser
from avvp_jax.task import MODALITIES
from tests.programs import still
from tests.short_clips import SEGMENTS, assert_close, cut, drawn, spoilt, variables_of
from tests.weights import idle

WIDTHS = {"audio": 6, "visual": 7, "snippet": 5}
CLASSES = 4
EXACT = jax.lax.Precision.HIGHEST
SECTIONS = {"model", "audio_net", "video_net"}
GUIDES = ("audio_net", "video_net")
# Each other length is another program to compile; that of weight 0 is not.
LENGTHS = (5, 1, 3, 5)

pytestmark = pytest.mark.usefixtures("on_a_cpu")


def network_of(method: str, variant: str = "", **changes) -> Network:
    """The network that a config trains, small, of one layer and without dropout."""
    config = importlib.import_module(f"configs.{method}").get_config(variant)
    still(config)
    for name in SECTIONS & set(config):
        config[name].feed_forward, config[name].layers = 12, 1
        config[name].heads = min(config[name].heads, 2)
    small = {"width": 8, "visual_dropout": 0.0, "class_width": 6, "levels": 2, "label_width": 6}
    model = config.model.to_dict()
    model |= {name: small[name] for name in small if name in model} | changes
    of_its_own = {"cmpae": EvidenceParser, "leap": LabelParser, "mm_cse": ClassParser}
    if method in of_its_own:
        return make_network(of_its_own[method], tuple(WIDTHS.values()), CLASSES, **model)
    if method != "dhhn":
        return parser_network(tuple(WIDTHS.values()), CLASSES, model)
    guides = [config[name].to_dict() for name in GUIDES]
    return make_network(JointNetworks, tuple(WIDTHS.values()), CLASSES, model, *guides)


def batch_of(lengths, seed: int = 0) -> dict:
    """A batch of clips; of three or more, the last but one has weight 0."""
    rng = np.random.default_rng(seed)
    weak = (rng.random((len(lengths), CLASSES)) < 0.6).astype(np.float32)
    taught = (rng.random((2, len(lengths), SEGMENTS, CLASSES)) < 0.4).astype(np.float32)
    weight = np.ones(len(lengths), np.float32)
    weight[1:-1][-1:] = 0
    counts = np.full((1, CLASSES, len(lengths) + 1), 2, np.int32)
    return {
        "features": drawn(WIDTHS, lengths, seed),
        "targets": targets(weak) | dict.fromkeys(GUIDES, weak),
        "pseudo_label": {"audio": taught[0], "visual": taught[1]},
        "weight": weight,
        "lengths": np.array(lengths),
        "removal_counts": {"audio": counts, "visual": counts},
        "step": 0,
        "step_of_epoch": 1,
    }


def alone(batch: dict, row: int, length: int) -> dict:
    """The batch of one of its clips, in as many segments as it has."""
    names = ("features", "targets", "pseudo_label", "weight")
    found = {name: cut(batch[name], row, length) for name in names}
    return found | {"weight": np.ones(1, np.float32)}


def with_garbage(batch: dict) -> dict:
    spoil = {"features": 1e30, "pseudo_label": 1e6}
    return batch | {name: spoilt(batch[name], batch["lengths"], spoil[name]) for name in spoil}


def slopes_of(network: Network, loss: Callable) -> Callable:
    """(variables, batch) -> loss, its parts, batch statistics afterwards; gradients."""

    def total(params, stats, batch):
        module = network.module({"params": params, "stats": stats})
        found, parts = loss(module, batch, jax.random.key(1))
        return found, (found, parts, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))

    compiled = jax.jit(jax.grad(total, has_aux=True))
    return lambda variables, batch: compiled(variables["params"], variables["stats"], batch)


def mean_alone(run: Callable, variables: dict, batch: dict) -> object:
    """What `run` gives of each clip alone, averaged by weight."""
    weight = batch["weight"] / batch["weight"].sum()
    found = [
        jax.tree.map(lambda x, w=w: w * x, run(variables, alone(batch, row, int(length))))
        for row, (w, length) in enumerate(zip(weight, batch["lengths"], strict=True))
        if w
    ]
    return jax.tree.map(lambda *each: sum(each), *found)


CASES = {
    "han": (han.loss, "han", ""),
    "ma": (ma.loss, "ma", ""),
    "jomold's estimator": (jomold.estimator_loss, "jomold", ""),
    "valor": (valor.loss, "valor", ""),
    "mm_cse": (mm_cse.Objective(0.5, 0.1, 0.1), "mm_cse", ""),
    "leap": (leap.LOSSES["program"], "leap", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_those_of_each_clip_alone(case):
    loss, *config = CASES[case]
    changes = {"cross_attention": False} if "estimator" in case else {}
    network, batch = network_of(*config, **changes), batch_of(LENGTHS)
    variables, run = variables_of(network), slopes_of(network, loss)
    found = run(variables, batch)
    wanted = mean_alone(run, variables, batch)
    assert_close(with_gradients(found), with_gradients(wanted), tolerance=5e-5)
    jax.tree.map(np.testing.assert_array_equal, run(variables, with_garbage(batch)), found)


def with_gradients(tree: PyTree) -> PyTree:
    """Slopes without those that are 0 but for rounding, which is as large as others are."""

    def one(path, x):
        return 0 * x if idle(jax.tree_util.keystr(path, simple=True, separator="/")) else x

    return jax.tree_util.tree_map_with_path(one, tree)


@pytest.mark.parametrize("target", leap.TARGETS)
def test_similarities_are_of_the_segments_of_the_own_clip(target):
    rng, lengths = np.random.default_rng(0), np.array((5, 1, 3))
    shape = (2, len(lengths), SEGMENTS)
    streams = dict(zip(MODALITIES, rng.standard_normal((*shape, 4), np.float32), strict=True))
    there = (np.arange(SEGMENTS) < lengths[:, None])[..., None]
    labels = ((rng.random((*shape, CLASSES)) < 0.4) & there).astype(np.float32)
    labels = dict(zip(MODALITIES, labels, strict=True))
    options = {"precision": EXACT, "target": target}

    def total(streams, labels, weight, lengths=None):
        return leap.similarity_loss(streams, labels, weight, lengths=lengths, **options)

    run, weight = jax.value_and_grad(total), np.ones(len(lengths), np.float32)
    found, slopes = run(spoilt(streams, lengths, 1e6), labels, weight, lengths)
    each = [
        run(cut(streams, row, n), cut(labels, row, n), weight[:1]) for row, n in enumerate(lengths)
    ]
    np.testing.assert_allclose(found, np.mean([loss for loss, _ in each]), rtol=1e-5)
    for row, (n, (_, wanted)) in enumerate(zip(lengths, each, strict=True)):
        assert_close(cut(slopes, row, n), jax.tree.map(lambda x: x / len(lengths), wanted))
        assert not any(x[row, n:].any() for x in slopes.values())


def test_labels_are_removed_by_the_losses_of_each_clip_alone():
    """JoMoLD ranks the losses of a batch, so which labels go is known from all clips' alone."""
    network, batch = network_of("jomold"), batch_of(LENGTHS, seed=3)
    variables, run = variables_of(network), slopes_of(network, jomold.denoised_loss)
    estimate = jax.jit(lambda x: network.module(variables).without_cross_attention(x))
    clips = [alone(batch, row, length) for row, length in enumerate(LENGTHS)]
    ranked = [estimate(clip["features"]) for clip in clips]
    probs = [jnp.concatenate([x[f"{m}_prob"] for x in ranked]) for m in ("audio", "visual")]
    counts = [batch["removal_counts"][m][0] for m in ("audio", "visual")]
    edited = denoise(*probs, batch["targets"], *counts, batch["weight"])
    assert any((edited[m] != batch["targets"][m]).any() for m in ("audio", "visual"))

    def twice_audio(parser, batch, key):
        total, parts = jomold.estimator_loss(parser, batch, key)
        return total + parts["loss/audio"], parts

    each = mean_alone(slopes_of(network, twice_audio), variables, batch | {"targets": edited})
    slopes, (total, parts, _) = run(variables, batch)
    parts = {name: x for name, x in parts.items() if not name.startswith("removed")}
    assert_close((slopes, (total, parts, {})), each, tolerance=5e-5)
    again = run(variables, with_garbage(batch))
    jax.tree.map(np.testing.assert_array_equal, again, run(variables, batch))


@pytest.mark.parametrize("frames", [(), (3,)], ids=["pooled", "frames"])
def test_evidence_and_its_losses_are_those_of_each_clip_alone(frames):
    """CMPAE's, on pooled rows and on the frames of segments, without removing labels."""
    network, batch = network_of("cmpae"), batch_of(LENGTHS)
    counts = jax.tree.map(np.zeros_like, batch["removal_counts"])
    batch["removal_counts"] = counts
    if frames:
        seen = drawn({"visual": 3 * WIDTHS["visual"]}, LENGTHS, 5)["visual"]
        batch["features"]["visual"] = seen.reshape(*seen.shape[:2], 3, -1)
    variables = variables_of(network)
    slopes = slopes_of(network, cmpae.loss)

    def run(variables, batch):
        zeros = jax.tree.map(lambda x: x[:, :, : len(batch["weight"]) + 1], counts)
        shared = {"removal_counts": zeros, "step": 0, "step_of_epoch": 1}
        grads, (total, parts, stats) = slopes(variables, batch | shared)
        # Of a clip without labels nothing can be removed: that share is none.
        return grads, (total, {k: x for k, x in parts.items() if "loss" in k}, stats)

    found = run(variables, batch)
    assert_close(found, mean_alone(run, variables, batch), tolerance=5e-5)
    jax.tree.map(np.testing.assert_array_equal, run(variables, with_garbage(batch)), found)
    parse = jax.jit(lambda x, lengths: network.module(variables)(x, lengths=lengths))
    whole = parse(batch["features"], batch["lengths"])
    for row, length in enumerate(LENGTHS[:3]):
        own = parse(cut(batch["features"], row, length), None)
        for name in ("frame_prob", "audio_prob", "visual_prob", "global_prob"):
            assert_close(cut(whole[name], row, length), own[name])


def test_dhhn_trains_as_networks_of_as_many_segments_would():
    """Loss, gradients and running statistics; those of mixed lengths are in tests/nn."""
    network = network_of("dhhn", "origin")
    variables, run = variables_of(network), slopes_of(network, dhhn.loss)
    batch = batch_of([5] * 3)
    found = run(variables, batch)
    few = jax.tree.map(
        lambda x: x[:, :5] if np.ndim(x) == 3 else x,
        {name: batch[name] for name in ("features", "targets", "weight")},
    )
    assert_close(found, run(variables, few), tolerance=2e-4)
    jax.tree.map(np.testing.assert_array_equal, run(variables, with_garbage(batch)), found)
    # The last clip of an epoch may have one segment: one row has no variance.
    last = batch_of([1] * 3) | {"weight": np.array([1, 0, 0], np.float32)}
    for x in jax.tree.leaves(run(variables, last)):
        assert np.isfinite(x).all()


@pytest.mark.parametrize("loss", [smoothed_cross_entropy, expected_probability])
def test_a_segment_without_others_has_nothing_to_be_told_from(loss):
    """Alone in its clip, or in a task of one segment."""
    logits = jnp.array([[[3.0]], [[-2.0]]])
    for lengths in (None, np.array([1, 1])):
        total, slope = jax.value_and_grad(loss)(logits, np.ones(2, np.float32), lengths)
        assert total == 0 and not slope.any()


def test_smoothing_is_shared_by_the_segments_of_the_own_clip():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, SEGMENTS, SEGMENTS)).astype(np.float32)
    prob = np.exp(logits[0, :3, :3]) / np.exp(logits[0, :3, :3]).sum(axis=1, keepdims=True)
    target = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    weight, lengths = np.ones(1, np.float32), np.array([3])
    found = smoothed_cross_entropy(jnp.asarray(logits), weight, lengths)
    np.testing.assert_allclose(found, -(target * np.log(prob)).sum(axis=1).mean(), rtol=1e-5)
    found = expected_probability(jnp.asarray(logits), weight, lengths)
    np.testing.assert_allclose(found, -np.log((target * prob).sum(axis=1)).mean(), rtol=1e-5)


def test_zeros_behind_a_clip_have_a_gradient_of_zero():
    """The norm of zeros has none, and contrastive losses divide by norms."""
    rng, lengths = np.random.default_rng(0), np.array([2])
    streams = np.zeros((2, 1, SEGMENTS, 4), np.float32)
    streams[:, :, :2] = rng.standard_normal((2, 1, 2, 4))

    def loss(streams):
        logits = contrastive_logits(*streams, jax.lax.Precision.HIGHEST)
        return smoothed_cross_entropy(logits, np.ones(1, np.float32), lengths)

    slope = jax.jit(jax.grad(loss))(streams)
    assert np.isfinite(slope).all() and slope[:, :, :2].all() and not slope[:, :, 2:].any()


def test_mas_strangers_are_as_long_as_the_video_that_they_join():
    """A shorter one begins again, a longer one is cut; each view is then that of clips alone."""
    network, lengths, strangers = network_of("ma"), (5, 1, 5), (2, 7, 7)
    variables = variables_of(network)
    own, stranger = (drawn(WIDTHS, each, seed) for seed, each in ((0, lengths), (1, strangers)))
    joined = repeated(spoilt(stranger, strangers), np.array(strangers))
    seen = jax.jit(lambda *x: views(network, variables, *x))
    found = seen(spoilt(own, lengths), joined, np.array(lengths))
    for row, (length, other) in enumerate(zip(lengths, strangers, strict=True)):
        again = np.arange(length) % other
        partner = {role: x[row : row + 1, again] for role, x in stranger.items()}
        wanted = seen(cut(own, row, length), partner)
        assert_close(jax.tree.map(lambda x, row=row: x[row : row + 1], found), wanted)
