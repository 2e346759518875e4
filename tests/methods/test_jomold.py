"""JoMoLD: golden numbers of all stages, and the denoising rule by hand and against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from avvp_jax.methods.contrastive import contrastive_logits, expected_probability
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.methods.jomold.denoising import (
    denoise,
    noise_ratios,
    removal_counts,
    removed_shares,
)
from avvp_jax.methods.jomold.method import LAYOUT
from avvp_jax.methods.targets import targets
from avvp_jax.nn.functional import Network, parser_network
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})
STEP = ConfigDict({"kind": "step", "learning_rate": 5e-4, "factor": 0.25, "every_epochs": 6})
PARTS = ("audio", "visual", "global")


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("jomold")


def estimator_of(published_network, seed):
    """The network without cross-modal attention, on the same weights."""
    _, variables, unused = published_network("jomold", seed)
    off = {"dropout": 0.0, "visual_dropout": 0.0, "cross_attention": False}
    network = parser_network((128, 2048, 512), len(LLP.classes), {**LAYOUT.model, **off})
    return network, variables, unused


def trained(network: Network, variables, loss, batches):
    """The state after a step on each batch, and what was logged."""
    optimizer, rates = make_optimizer(ADAM), make_schedule(STEP, 40)(1)
    step = jax.jit(make_step(network, loss, optimizer))
    state, logged = begin(optimizer, variables), []
    for index, batch in enumerate(batches):
        state, values = step(state, batch | {"step": index}, keys.root_key(0), rates)
        logged.append(values)
    return state, logged


def assert_losses(logged, numbers, stage):
    losses = [values[f"loss/{part}"] for values in logged for part in PARTS]
    np.testing.assert_allclose(losses, numbers[f"{stage}/losses"], rtol=1e-4)
    contrastive = [values["loss/contrastive"] for values in logged]
    np.testing.assert_allclose(contrastive, numbers[f"{stage}/contrastive"], rtol=1e-4)


@pytest.mark.parametrize("cross", [True, False], ids=["forward", "forward_no_cross_attention"])
def test_forward_equals_the_published_program(numbers, published_network, recipe_batch, cross):
    network, variables, _ = published_network("jomold", int(numbers["seed"]))
    inputs = recipe_batch(4, int(numbers["seed"]))["features"]
    parser = network.module(variables)
    output = parser(inputs) if cross else parser.without_cross_attention(inputs)
    name = "forward" if cross else "forward_no_cross_attention"
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob"):
        np.testing.assert_allclose(output[prob], numbers[f"{name}/{prob}"], rtol=1e-5)
    logits = contrastive_logits(
        output["audio_stream"], output["visual_stream"], jax.lax.Precision.HIGHEST
    )
    expected = numbers[f"{name}/contrast_logits"]
    np.testing.assert_allclose(logits.reshape(40, 10), expected, atol=1e-5)


def test_the_estimator_trains_as_published(numbers, published_network, recipe_batch):
    seed = int(numbers["seed"])
    network, variables, unused = estimator_of(published_network, seed)
    batches = [recipe_batch(8, 1000 * seed + i + 1) for i in range(int(numbers["estimator/steps"]))]
    state, logged = trained(network, variables, jomold.estimator_loss, batches)
    assert_losses(logged, numbers, "estimator")
    assert_weights(state.variables, LAYOUT, unused, numbers, "estimator/after/", moved=5e-4 * 5)


@pytest.mark.parametrize("setting", ["default", "other"])
def test_noise_ratios_are_the_published_ones(numbers, published_network, recipe_batch, setting):
    seed = int(numbers["seed"])
    network, variables, _ = estimator_of(published_network, seed)
    batches = [recipe_batch(32, 1000 * seed + i + 1) for i in range(3)]
    outputs = [network.module(variables)(batch["features"]) for batch in batches]
    visual, audio = numbers[f"ratios/{setting}/thresholds_visual_audio"]
    ratios = noise_ratios(
        np.concatenate([output["audio_prob"] for output in outputs]),
        np.concatenate([output["visual_prob"] for output in outputs]),
        targets(np.concatenate([batch["weak_label"] for batch in batches])),
        32,
        audio_threshold=audio,
        visual_threshold=visual,
    )
    for modality, ratio in ratios._asdict().items():
        assert ratio.dtype == np.float64
        np.testing.assert_array_equal(ratio, numbers[f"ratios/{setting}/{modality}"])


def test_denoised_training_removes_and_learns_as_published(
    numbers, published_network, recipe_batch
):
    """Every Pa and Pv of two epochs exactly, losses and weights within tolerance."""
    seed = int(numbers["seed"])
    network, variables, unused = published_network("jomold", seed)
    counts = {
        modality: removal_counts(numbers[f"denoise/ratio_{modality}"], 24, 3, "published")
        for modality in ("audio", "visual")
    }
    edited = []

    def recording(parser, batch, key):
        ranking = parser.without_cross_attention(batch["features"])
        row = jnp.minimum(batch["step"], 3)
        chosen = [counts[modality][row] for modality in ("audio", "visual")]
        probs = ranking["audio_prob"], ranking["visual_prob"]
        after = denoise(*probs, batch["targets"], *chosen, batch["weight"])
        jax.debug.callback(lambda a, v: edited.append((a, v)), after["audio"], after["visual"])
        return jomold.denoised_loss(parser, batch, key)

    counts = jax.tree.map(jnp.asarray, counts)
    batches = [recipe_batch(24, 1000 * seed + i + 1) for i in range(3)] * 2
    batches = [batch | {"removal_counts": counts} for batch in batches]
    state, logged = trained(network, variables, recording, batches)
    jax.effects_barrier()
    for index, (audio, visual) in enumerate(edited):
        where = f"denoise/epoch{index // 3 + 1}/step{index % 3}"
        np.testing.assert_array_equal(audio, numbers[f"{where}/Pa"])
        np.testing.assert_array_equal(visual, numbers[f"{where}/Pv"])
    assert len(edited) == 6
    assert_losses(logged, numbers, "denoise")
    assert_weights(state.variables, LAYOUT, unused, numbers, "denoise/after/", moved=5e-4 * 6)
    for values, batch, (audio, _) in zip(logged, batches, edited, strict=True):
        removed = (batch["targets"]["audio"] != audio).sum() / batch["weak_label"].sum()
        np.testing.assert_allclose(values["removed/audio"], removed, rtol=1e-5)
        parts = sum(values[f"loss/{part}"] for part in (*PARTS, "contrastive"))
        np.testing.assert_allclose(values["loss"], parts + values["loss/audio"], rtol=1e-5)


def test_expected_probability_by_hand():
    logits = jnp.array([[[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]]])
    probs = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    target = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    expected = -np.log((target * probs).sum(axis=1)).mean()
    np.testing.assert_allclose(expected_probability(logits, jnp.ones(1)), expected, rtol=1e-6)


def test_ratios_by_hand():
    """Two batches, the second short: its mean counts as much as the first's."""
    prob = np.array([[0.8, 0.3], [0.4, 0.3], [0.2, 0.9]], np.float32)
    label = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    # Class 0: batch means 0.6 and 0.2, so 0.4; prob / mean is 2, 1 and 0.5.
    ratios = noise_ratios(prob, prob, targets(label), 2, audio_threshold=0.6, visual_threshold=1.8)
    np.testing.assert_allclose(ratios.audio, [1 / 3, 0])  # no video has class 1
    np.testing.assert_allclose(ratios.visual, [2 / 3, 0])  # 0.95 * 2 = 1.9 is not below 1.8


def test_counts_are_floors_of_exact_products():
    """29/31 of 31 is 29, though its float32 product falls short of it; ratio 0 and 1 too."""
    ratio = np.array([29 / 31, 0.0, 1.0, 1 / 3])
    table = removal_counts(ratio, 40, 7, "published")[-1]
    assert table[0, 31] == np.floor(ratio[0] * 31)
    assert not table[1].any()
    np.testing.assert_array_equal(table[2], np.arange(41))
    assert table[3, 3] == 1


def test_published_warm_up_spares_the_first_epoch_whole():
    table = removal_counts(np.array([0.5]), 10, 4, "published")
    assert table.shape == (5, 1, 11)
    assert not table[:4].any()
    assert table[4, 0, 10] == 5
    # The program's own arithmetic, step by step over three epochs.
    for epoch in range(1, 4):
        running = 0.5
        for step in range(4):
            running = min(running, running * ((epoch - 1) * 4 + step) / (0.9 * 4))
            row = min((epoch - 1) * 4 + step, 4)
            assert table[row, 0, 10] == np.floor(running * 10)


def test_linear_warm_up_grows_through_nine_tenths_of_the_first_epoch():
    table = removal_counts(np.array([1.0]), 10, 10, "linear")[:, 0, 10]
    assert table[:10].tolist() == [int(10 * min(1, step / 9)) for step in range(10)]
    assert table[10] == 10


def ones(*shape):
    return np.ones(shape, np.float32)


def test_denoising_by_hand():
    """Four positives of one class; the second's sound fits well and its frames do not."""
    audio_prob = np.array([[0.5], [0.9], [0.6], [0.7]], np.float32)
    visual_prob = np.array([[0.6], [0.1], [0.7], [0.8]], np.float32)
    counts = np.arange(5)[None] // 4  # one label of four
    before = targets(ones(4, 1))
    after = denoise(audio_prob, visual_prob, before, 0 * counts, counts, ones(4))
    np.testing.assert_allclose(after["visual"], [[0.95], [0], [0.95], [0.95]])
    np.testing.assert_array_equal(after["audio"], before["audio"])
    assert after["video"] is before["video"]


def test_equal_losses_rank_by_position_in_both_orders():
    same = np.full((4, 1), 0.5, np.float32)
    counts = np.full((1, 5), 2)
    after = denoise(same, same, targets(ones(4, 1)), counts, counts, ones(4))
    for modality in ("audio", "visual"):
        assert (after[modality][:, 0] == 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("share", "removed"), [(0, 0), (1, 3)], ids=["none", "all"])
def test_ratios_of_zero_and_one(share, removed):
    rng = np.random.default_rng(0)
    audio_prob, visual_prob = rng.random((2, 5, 1)).astype(np.float32)
    label = np.array([[1], [0], [1], [1], [0]], np.float32)
    counts = share * np.arange(6)[None]
    after = denoise(audio_prob, visual_prob, targets(label), counts, counts, ones(5))
    assert (after["audio"] != label).sum() == removed
    assert (after["visual"] == 0).sum() == removed


def test_shares_of_removed_labels_are_of_those_that_there_are():
    both = {name: jnp.array([[1.0, 1.0], [1.0, 0.0]]) for name in ("video", "audio", "visual")}
    edited = both | {"visual": both["visual"].at[0, 1].set(0.0)}
    shares = removed_shares(both, edited, np.ones(2))
    assert shares["removed/audio"] == 0
    np.testing.assert_allclose(shares["removed/visual"], 1 / 3, rtol=1e-6)
    none = jax.tree.map(jnp.zeros_like, both)
    assert not any(removed_shares(none, none, np.ones(2)).values())


def test_a_class_without_positives_and_padding_change_nothing():
    rng = np.random.default_rng(0)
    audio_prob, visual_prob = rng.random((2, 4, 2)).astype(np.float32)
    label = np.array([[0, 1], [0, 1], [0, 1], [0, 1]], np.float32)
    weight = np.array([1, 1, 1, 0], np.float32)
    counts = np.stack([np.arange(5), np.arange(5)])
    after = denoise(audio_prob, visual_prob, targets(label), counts, counts, weight)
    assert not after["audio"][:3].any()
    assert after["audio"][3].tolist() == [0, 1]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
def test_denoising_equals_plain_loops(seed, videos, classes):
    rng = np.random.default_rng(seed)
    # Few distinct probabilities, so that losses tie.
    audio_prob, visual_prob = rng.integers(1, 5, (2, videos, classes)).astype(np.float32) / 5
    label = (rng.random((videos, classes)) < 0.6).astype(np.float32)
    ratio = rng.random((2, classes))
    counts = [np.floor(r[:, None] * np.arange(videos + 1)).astype(int) for r in ratio]
    before = targets(label)
    after = denoise(audio_prob, visual_prob, before, *counts, ones(videos))
    expected = {"audio": before["audio"].copy(), "visual": before["visual"].copy()}
    losses = {
        m: -(before[m] * np.log(p) + (1 - before[m]) * np.log1p(-p))
        for m, p in (("audio", audio_prob), ("visual", visual_prob))
    }
    for c in range(classes):
        positives = [i for i in range(videos) if label[i, c] > 0]
        for modality, other, table in zip(
            ("audio", "visual"), ("visual", "audio"), counts, strict=True
        ):
            k = table[c, len(positives)]
            small = sorted(positives, key=lambda i, o=other, c=c: losses[o][i, c])[:k]
            large = sorted(positives, key=lambda i, m=modality, c=c: -losses[m][i, c])[:k]
            for i in set(small) & set(large):
                expected[modality][i, c] = 0
    for modality, target in expected.items():
        np.testing.assert_array_equal(after[modality], target)
