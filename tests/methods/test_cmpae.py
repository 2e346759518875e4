"""CMPAE: golden numbers of the network and of its training, and its parts by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from avvp_jax.methods.cmpae import stages as cmpae
from avvp_jax.methods.cmpae.evidence import belief, global_belief
from avvp_jax.methods.cmpae.method import LAYOUT
from avvp_jax.methods.cmpae.mutual import mutual_loss
from avvp_jax.methods.contrastive import contrastive_logits
from avvp_jax.methods.jomold.denoising import removal_counts
from avvp_jax.nn import attention, layers
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden

ADAM = ConfigDict({"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8})
STEP = ConfigDict({"kind": "step", "learning_rate": 5e-4, "factor": 0.25, "every_epochs": 6})
PARTS = ("audio", "visual", "global")
FUSED = ("frame_prob", "audio_prob", "visual_prob")


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/cmpae")


def outputs_of(network, variables, features, lengths=None):
    """What the network says with and without cross-modal attention, and in evaluation."""

    @jax.jit
    def run(features, lengths):
        parser = network.module(variables)
        passes = parser.with_cross_attention, parser.without_cross_attention, parser
        return [one(features, lengths=lengths) for one in passes]

    return run(features, lengths)


def test_forward_equals_the_published_program(numbers, published_network, recipe_batch):
    """Both passes, and what evaluation makes of them."""
    seed = int(numbers["seed"])
    network, variables, _ = published_network("cmpae", seed)
    features = recipe_batch(4, seed, pooled=False)["features"]
    *passes, fused = outputs_of(network, variables, features)
    names = ("forward", "forward_no_cross_attention")
    outputs = (*FUSED, "global_prob", *(f"{x}_uncertainty" for x in ("frame", *PARTS)))
    for prefix, output in zip(names, passes, strict=True):
        for name in outputs:
            np.testing.assert_allclose(output[name], numbers[f"{prefix}/{name}"], rtol=1e-5)
        streams = output["audio_stream"], output["visual_stream"]
        logits = contrastive_logits(*streams, jax.lax.Precision.HIGHEST)
        expected = numbers[f"{prefix}/contrast_logits"]
        np.testing.assert_allclose(logits.reshape(40, 10), expected, atol=1e-5 * expected.max())
    for name in FUSED:
        crossed, alone = (numbers[f"{prefix}/{name}"] for prefix in names)
        np.testing.assert_allclose(fused[name], 0.7 * crossed + 0.3 * alone, rtol=1e-5)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def exact_product(x, kernel, precision):
    """A product of float64, rounded; its gradient is the one of float32."""
    return jnp.matmul(x.astype(jnp.float64), kernel.astype(jnp.float64)).astype(jnp.float32)


exact_product.defvjp(
    lambda x, kernel, precision: (exact_product(x, kernel, precision), (x, kernel)),
    layers._product_gradient,
)


def trained(published_network, batches, seed):
    """The state after a step on each batch, what was logged, the edited targets, unused tensors."""
    network, variables, unused = published_network("cmpae", seed)
    edited, edit = [], cmpae.edited_targets

    def recording(*args):
        after = edit(*args)
        jax.debug.callback(lambda a, v: edited.append((a, v)), after["audio"], after["visual"])
        return after

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cmpae, "edited_targets", recording)
        optimizer, rates = make_optimizer(ADAM), make_schedule(STEP, 20)(1)
        step = jax.jit(make_step(network, lambda *args: cmpae.loss(*args), optimizer))
        state, logged = begin(optimizer, variables), []
        for index, batch in enumerate(batches):
            state, values = step(state, batch | {"step": index}, keys.root_key(0), rates)
            logged.append(values)
        jax.effects_barrier()
    return state, logged, edited, unused


def assert_losses(logged, numbers, stage):
    losses = [values[f"loss/{part}"] for values in logged for part in PARTS]
    np.testing.assert_allclose(losses, numbers[f"{stage}/losses"], rtol=1e-4)
    for part in ("contrastive", "mutual"):
        found = [values[f"loss/{part}"] for values in logged]
        np.testing.assert_allclose(found, numbers[f"{stage}/{part}"], rtol=1e-4)
    for values in logged:
        parts = {name: values[f"loss/{name}"] for name in (*PARTS, "contrastive", "mutual")}
        total = sum(parts.values()) + parts["audio"] - 0.4 * (parts["visual"] + parts["global"])
        np.testing.assert_allclose(values["loss"], total, rtol=1e-5)


def batches_of(recipe_batch, numbers, videos, steps, ratios):
    """The first batches of epochs of so many steps."""
    counts = {m: removal_counts(ratio, videos, steps, "published") for m, ratio in ratios.items()}
    counts, seed = jax.tree.map(jnp.asarray, counts), 1000 * int(numbers["seed"]) + 1
    return [
        recipe_batch(videos, seed + index, pooled=False)
        | {"removal_counts": counts, "step_of_epoch": index}
        for index in range(steps)
    ]


def test_five_steps_train_as_published(numbers, published_network, recipe_batch):
    none = {"audio": np.zeros(25), "visual": np.zeros(25)}
    batches = batches_of(recipe_batch, numbers, 8, 5, none)
    state, logged, _, unused = trained(published_network, batches, int(numbers["seed"]))
    assert_losses(logged, numbers, "train")
    assert_weights(state.variables, LAYOUT, unused, numbers, "train/after/", moved=5e-4 * 5)


def test_denoised_training_removes_and_learns_as_published(
    numbers, published_network, recipe_batch, monkeypatch
):
    """Every Pa and Pv of two epochs exactly; the mutual loss begins again with each epoch.

    In the first step the input of a ReLU (video 18, visual, segment 5, unit 426) is -6e-7, and sums
    of float32 are as far off. Where they have the other sign there, that unit learns too, and five
    steps later the mutual loss is off by 2e-4. So the network's sums are of float64 here; all else
    is as ever.
    """
    for module in (layers, attention):
        monkeypatch.setattr(module, "product", exact_product)
    ratios = {modality: numbers[f"denoise/ratio_{modality}"] for modality in ("audio", "visual")}
    batches = 2 * batches_of(recipe_batch, numbers, 24, 3, ratios)
    batches = jax.tree.map(lambda x: np.asarray(x, np.asarray(jnp.asarray(x)).dtype), batches)
    with jax.enable_x64():
        state, logged, edited, unused = trained(published_network, batches, int(numbers["seed"]))
    assert len(edited) == 6
    for index, (audio, visual) in enumerate(edited):
        where = f"denoise/epoch{index // 3 + 1}/step{index % 3}"
        np.testing.assert_array_equal(audio, numbers[f"{where}/Pa"])
        np.testing.assert_array_equal(visual, numbers[f"{where}/Pv"])
    assert_losses(logged, numbers, "denoise")
    if any(name.startswith("denoise/after/") for name in numbers):
        assert_weights(state.variables, LAYOUT, unused, numbers, "denoise/after/", moved=5e-4 * 6)


@pytest.mark.parametrize("of_global", [False, True], ids=["even", "odd"])
def test_the_mutual_loss_and_its_gradients_are_the_published_ones(numbers, of_global):
    prefix = f"mutual/{'odd' if of_global else 'even'}"
    drawn = {k.split("/")[-1]: x for k, x in numbers.items() if k.startswith("mutual/input/")}
    label, weight = drawn.pop("target"), np.ones(len(drawn["global_prob"]), np.float32)
    loss, slopes = jax.value_and_grad(mutual_loss)(drawn, label, weight, of_global)
    np.testing.assert_allclose(loss, numbers[f"{prefix}/loss"], rtol=1e-4)
    for name, slope in slopes.items():
        expected = numbers[f"{prefix}/gradient/{name}"]
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=atol, err_msg=name)


def test_padding_has_no_part_in_the_mutual_loss(numbers):
    drawn = {k.split("/")[-1]: x for k, x in numbers.items() if k.startswith("mutual/input/")}
    label, weight = drawn.pop("target"), np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)
    of_five = mutual_loss({k: x[:5] for k, x in drawn.items()}, label[:5], weight[:5], True)
    np.testing.assert_allclose(mutual_loss(drawn, label, weight, True), of_five, rtol=1e-6)


def test_beliefs_by_hand():
    """Without evidence all is uncertain; with much for one side, that is believed."""
    pairs = jnp.array([[0.0, 0.0], [-99.0, -99.0], [99.0, -99.0], [-99.0, 99.0]])
    prob, uncertainty = belief(pairs)
    np.testing.assert_allclose(prob, [0.5, 0.5, 1, 0], atol=1e-5)
    np.testing.assert_allclose(uncertainty, [0.5, 1, 0, 0], atol=1e-5)
    # Two segments of logits whose mean is 0: evidence 1 for each of two classes.
    prob, uncertainty = global_belief(jnp.array([[[3.0, -1.0], [-3.0, 1.0]]]))
    np.testing.assert_allclose(prob, [[0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(uncertainty, [0.5], atol=1e-6)


def test_pooled_frames_are_another_thing(published_network, recipe_batch):
    """The ELU of an average is below the average of ELUs."""
    network, variables, _ = published_network("cmpae", 1)
    frames, pooled = (recipe_batch(2, 1, pooled=x)["features"] for x in (False, True))
    (one, *_), (other, *_) = (outputs_of(network, variables, x) for x in (frames, pooled))
    np.testing.assert_allclose(one["audio_prob"].shape, other["audio_prob"].shape)
    assert np.abs(one["visual_prob"] - other["visual_prob"]).max() > 0.01
