"""MA: golden numbers of both trainings, the rule of stage 2, its artefact."""

import csv
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
from ml_collections import ConfigDict

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.methods import METHODS
from avvp_jax.methods.contrastive import contrastive_logits, smoothed_cross_entropy
from avvp_jax.methods.ma import stages as ma
from avvp_jax.methods.ma.estimation import draw_partner, errors, estimate, removed_from, thresholds
from avvp_jax.methods.ma.removed_labels import read_removed_labels
from avvp_jax.methods.targets import RemovedLabels, targets
from avvp_jax.nn.functional import parser_network
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})
STEP = ConfigDict({"kind": "step", "learning_rate": 3e-4, "factor": 0.1, "every_epochs": 10})
REAL = os.environ.get("AVVP_LLP_DIR", "")


@pytest.mark.parametrize("name", ["ma_base", "ma_retrain"])
def test_training_equals_the_published_program(name, golden, published_network, recipe_batch):
    numbers = golden(name)
    seed = int(numbers["seed"])
    network, variables, unused = published_network("ma", seed)
    optimizer, rates = make_optimizer(ADAM), make_schedule(STEP, 40)(1)
    step = jax.jit(make_step(network, ma.loss, optimizer))
    state, losses, contrastive = (
        begin(optimizer, variables),
        [],
        [],
    )
    for index in range(int(numbers["train/steps"])):
        drawn = 1000 * seed + index + 1
        batch = recipe_batch(8, drawn)
        if name == "ma_retrain":
            removed = RemovedLabels(*recipe.removed(batch["weak_label"], drawn))
            batch["targets"] = targets(batch["weak_label"], removed)
        state, logged = step(state, batch, keys.root_key(0), rates)
        losses += [logged[f"loss/{part}"] for part in ("audio", "visual", "global")]
        contrastive.append(logged["loss/contrastive"])
    np.testing.assert_allclose(losses, numbers["train/losses"], rtol=1e-4)
    np.testing.assert_allclose(contrastive, numbers["train/contrastive"], rtol=1e-4)
    assert_weights(
        state.variables, METHODS["ma"].layout, unused, numbers, "train/after/", moved=3e-4 * 5
    )


def test_contrast_compares_sound_after_the_encoder_with_frames_before(
    golden, published_network, recipe_batch
):
    numbers = golden("ma_base")
    network, variables, _ = published_network("ma", int(numbers["seed"]))
    output = network.module(variables)(recipe_batch(4, int(numbers["seed"]))["features"])
    logits = contrastive_logits(
        output["audio_stream"], output["visual_tokens"], jax.lax.Precision.HIGHEST
    )
    expected = numbers["forward/contrast_logits"]
    np.testing.assert_allclose(logits.reshape(40, 10), expected, atol=1e-5)
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob"):
        np.testing.assert_allclose(output[prob], numbers[f"forward/{prob}"], rtol=1e-5)


def test_smoothed_cross_entropy_by_hand():
    logits = jnp.array([[[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]]])
    probs = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    target = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    expected = -(target * np.log(probs)).sum(axis=1).mean()
    np.testing.assert_allclose(smoothed_cross_entropy(logits, jnp.ones(1)), expected, rtol=1e-6)


def test_removed_labels_equal_the_published_rule(golden):
    numbers = golden("ma_estimate")
    given = {k.removeprefix("input/"): x for k, x in numbers.items() if k.startswith("input/")}
    audio_threshold = thresholds(1 - given["audio_accuracy"])
    visual_threshold = thresholds(1 - given["visual_accuracy"])
    label = given["label"]
    visual = removed_from(given["v_a"], given["a_a"], visual_threshold, label)
    audio = removed_from(given["a_v"], given["v_v"], audio_threshold, label)
    np.testing.assert_array_equal(visual, numbers["remove_visual"])
    np.testing.assert_array_equal(audio, numbers["remove_audio"])


def test_errors_and_thresholds_by_hand():
    label = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]], np.float32)
    prob = np.array([[0.9, 0.1, 0.2], [0.4, 0.1, 0.1], [0.6, 0.2, 0.1], [0.1, 0.7, 0.5]])
    np.testing.assert_array_equal(errors(prob, label), [2, 0, 1])
    np.testing.assert_allclose(thresholds(jnp.array([2, 0, 1])), [1.0, 0.0, 0.5])


@pytest.mark.parametrize("videos", [60, 1200])
@pytest.mark.parametrize("perfect", ["one class", "all classes"])
def test_a_class_without_errors_loses_no_label(videos, perfect):
    """In one compiled program, where a mean of ones need not be exactly 1."""
    label = np.ones((videos, 2), np.float32)
    own = np.full((videos, 2), 0.9, np.float32)
    own[:, 1] = 0.9 if perfect == "all classes" else 0.1
    low = np.full((videos, 2), 1e-3, np.float32)

    @jax.jit
    def removed(own, low, label):
        return removed_from(low, low, thresholds(errors(own, label)), label)

    gone = removed(own, low, label)
    assert not gone[:, 0].any()
    assert gone[:, 1].all() == (perfect == "one class")


def test_only_labels_that_a_video_has_are_removed():
    label = np.array([[1, 0]], np.float32)
    low = np.full((1, 2), 0.01, np.float32)
    np.testing.assert_array_equal(removed_from(low, low, np.ones(2), label), [[True, False]])


def test_partners_share_no_label_and_all_strangers_are_drawn():
    labels = np.eye(5, dtype=np.float32)[[0, 0, 1, 2, 3]]
    labels[4, 0] = 1  # shares a label with the first two
    draw = jax.vmap(lambda seed: draw_partner(jax.random.key(seed), labels[0], labels))
    assert set(draw(jnp.arange(100)).tolist()) == {2, 3}
    assert draw_partner(jax.random.key(0), np.ones(5, np.float32), labels) == -1


def small_problem(small_model, videos=13):
    rng = np.random.default_rng(0)
    roles = zip(("audio", "visual", "snippet"), (6, 7, 5), strict=True)
    features = {r: rng.standard_normal((videos, 10, w), np.float32) for r, w in roles}
    label = (rng.random((videos, 25)) < 0.1).astype(np.float32)
    label[np.arange(videos), rng.integers(5, 25, videos)] = 1
    label[:, 3] = 0
    label[0] = 1  # no video can be its partner
    network = parser_network((6, 7, 5), len(LLP.classes), small_model)
    variables = network.init(jax.random.key(1))
    # Below a half, so that some labels go.
    variables["params"]["mmil"]["fc_prob"]["bias"] -= 0.8
    return network, variables, ResidentFeatures(features), label


def test_estimation_repeats_itself_and_does_not_depend_on_the_batch_size(small_model):
    network, variables, features, label = small_problem(small_model)

    def removed(seed, batch_size):
        return estimate(
            network, variables, features, label, keys.root_key(seed), batch_size, make_mesh()
        )

    one, two = removed(2, 4), removed(2, 13)
    for modality in range(2):
        np.testing.assert_array_equal(one[modality], two[modality])
        assert not np.any(one[modality][0])
        assert not np.any(np.asarray(one[modality]) & (label == 0))
    assert 0 < sum(np.sum(x) for x in one) < 2 * label.sum()


def test_removed_labels_become_zero_targets():
    label = np.array([[1, 1, 0]], np.float32)
    removed = RemovedLabels(np.array([[1, 0, 0]], bool), np.array([[0, 1, 0]], bool))
    published = targets(label, removed)
    np.testing.assert_allclose(published["audio"], [[0, 1, 0]])
    np.testing.assert_allclose(published["visual"], [[0.95, 0, 0.05]])
    np.testing.assert_allclose(published["video"], [[0, 1, 0]])
    paper = targets(label, removed, edit_video_target=False)
    np.testing.assert_allclose(paper["video"], label)


@pytest.mark.skipif(not REAL, reason="AVVP_LLP_DIR does not name the published files")
def test_targets_from_the_published_removed_labels(golden):
    numbers = golden("ma_targets")
    with open(pathlib.Path(REAL) / "AVVP_train.csv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    label = np.zeros((len(rows), 25), np.float32)
    for row, video in enumerate(rows):
        label[row, [LLP.classes.index(name) for name in video["event_labels"].split(",")]] = 1
    ids = [video["filename"][:11] for video in rows]
    path = str(pathlib.Path(REAL) / "need_to_change.pkl")
    removed = read_removed_labels(path, ids, np.arange(len(rows)), 25)
    edited = targets(label, removed)
    for name in ("audio", "visual", "video"):
        total = edited[name].sum(axis=0, dtype=np.float64)
        np.testing.assert_allclose(total, numbers[name], rtol=1e-7)
    assert (edited["video"] != label).any(axis=1).sum() == numbers["video_changed"]
    assert (edited["video"].sum(axis=1) == 0).sum() == numbers["video_empty"]
    # Left-out videos are matched by their row in the csv.
    some = np.array([5, 17, 4000])
    part = read_removed_labels(path, [ids[row] for row in some], some, 25, len(ids) - len(some))
    np.testing.assert_array_equal(part.audio, removed.audio[some])
