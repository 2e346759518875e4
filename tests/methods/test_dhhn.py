"""DHHN: golden numbers of its four networks and both ways of training, and how it selects."""

import dataclasses

import jax
import numpy as np
import pytest

from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import from_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.dhhn import stages as dhhn
from avvp_jax.methods.han.method import MODEL
from avvp_jax.methods.targets import RemovedLabels, targets
from avvp_jax.nn.functional import Network, make_network
from avvp_jax.nn.guiding import GuidingNetwork
from avvp_jax.nn.hierarchy import CombinedParser, JointNetworks
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from configs.dhhn import get_config
from tests.first_states import begin
from tests.weights import assert_weights

pytestmark = pytest.mark.golden

WIDTHS = (128, 2048, 512)
STILL = {"dropout": 0.0}
PARTS = ("audio", "visual", "global", "audio_net", "video_net")


def guide_layout(name: str) -> Layout:
    """What a guiding network's weights would look like in a published file."""
    modality, section = {"audio": ("audio", "audio_net"), "visual": ("visual", "video_net")}[name]
    config = get_config()
    model = (
        config[section].to_dict()
        | STILL
        | {name: MODEL[name] for name in ("width", "dtype", "precision")}
    )
    model["modality"] = modality
    return Layout(
        f"dhhn_{name}",
        "base",
        "per_modality",
        model,
        lambda _: {},
        parser=GuidingNetwork,
        words=METHODS["dhhn"].layout.words,
    )


HCMN = dataclasses.replace(METHODS["dhhn"].layout, model=METHODS["dhhn"].layout.model | STILL)
LAYOUTS_BY_NETWORK = {
    "hcmn": HCMN,
    "audio_net": guide_layout("audio"),
    "video_net": guide_layout("visual"),
}
PUBLISHED_NAMES = {"hcmn": "hcmn", "audio_net": "audio", "video_net": "visual"}


def forward(network: Network, variables, features) -> dict:
    """What the network says, compiled as launch.py does it."""
    return jax.jit(lambda v, x: network.module(v)(x))(variables, features)


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("dhhn")


@pytest.fixture
def imported(published_state):
    """(network, seed) -> its variables and unused tensors; the guides have the seeds after."""

    def load(name: str, seed: int):
        layout = LAYOUTS_BY_NETWORK[name]
        state = published_state(f"dhhn_{PUBLISHED_NAMES[name]}", seed)
        return from_published(state, layout.file_network().shapes(), layout, "recipe")

    return load


@pytest.fixture
def joint(imported, numbers):
    """The three networks with their published weights."""
    config, seed = get_config(), int(numbers["seed"])
    sections = [config[name].to_dict() | STILL for name in ("model", "audio_net", "video_net")]
    network = make_network(JointNetworks, WIDTHS, len(LLP.classes), *sections)
    loaded = {name: imported(name, seed + i) for i, name in enumerate(LAYOUTS_BY_NETWORK)}
    params = {name: variables["params"] for name, (variables, _) in loaded.items()}
    stats = {"hcmn": loaded["hcmn"][0]["stats"]}
    return network, {"params": params, "stats": stats}, loaded["hcmn"][1]


def test_the_hierarchical_parser_equals_the_published_program(numbers, imported, recipe_batch):
    seed = int(numbers["seed"])
    features = recipe_batch(4, seed)["features"]
    output = forward(HCMN.file_network(), imported("hcmn", seed)[0], features)
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob"):
        np.testing.assert_allclose(output[prob], numbers[f"forward/hcmn/{prob}"], rtol=1e-5)


@pytest.mark.parametrize(("name", "place"), [("audio_net", 1), ("video_net", 2)])
def test_guiding_networks_equal_the_published_program(numbers, imported, recipe_batch, name, place):
    seed = int(numbers["seed"])
    network = LAYOUTS_BY_NETWORK[name].file_network()
    variables, _ = imported(name, seed + place)
    output = forward(network, variables, recipe_batch(4, seed)["features"])
    golden = f"forward/{PUBLISHED_NAMES[name]}"
    # Evaluated in float64, small probabilities are 1e-5 of themselves from the golden ones, so
    # that two float32 programs agree to 1e-5 of the largest.
    for ours, published in (("prob", "global_prob"), ("frame_prob", "frame_prob")):
        np.testing.assert_allclose(
            output[ours], numbers[f"{golden}/{published}"], rtol=0, atol=1e-5
        )


def test_the_combined_parser_hears_with_one_and_sees_with_the_other(
    numbers, imported, recipe_batch
):
    seed = int(numbers["seed"])
    parts = {"audio": imported("hcmn", seed)[0], "visual": imported("hcmn", seed + 3)[0]}
    variables = {kind: {m: parts[m][kind] for m in parts} for kind in ("params", "stats")}
    model = dict(HCMN.model)
    network = make_network(CombinedParser, WIDTHS, len(LLP.classes), model)
    output = forward(network, variables, recipe_batch(4, seed)["features"])
    assert "global_prob" not in output
    for index, modality in enumerate(parts):
        prob, golden = f"{modality}_prob", f"forward/dhhn/{modality}"
        np.testing.assert_allclose(output[prob], numbers[f"{golden}_prob"], rtol=1e-5)
        frames = numbers[f"{golden}_frame_prob"][:, :, index]
        np.testing.assert_allclose(output["frame_prob"][:, :, index], frames, rtol=1e-5)


@pytest.mark.parametrize(("mode", "prefix"), [("origin", "train"), ("refinement", "retrain")])
def test_training_equals_the_published_program(numbers, joint, recipe_batch, mode, prefix):
    """Losses, weights and running statistics after five steps of all three networks."""
    import recipe

    config, seed = get_config(mode), int(numbers["seed"])
    network, variables, unused = joint
    optimizer = make_optimizer(config.optimizer)
    rates = make_schedule(config.schedule, config.train.epochs)(1)
    step = jax.jit(make_step(network, dhhn.loss, optimizer))
    state, losses = begin(optimizer, variables), []
    steps = len(numbers[f"{prefix}/losses"]) // len(PARTS)
    for index in range(steps):
        drawn = 1000 * seed + index + 1
        batch = recipe_batch(8, drawn)
        label = batch["weak_label"]
        if mode == "refinement":
            edited = targets(label, RemovedLabels(*recipe.removed(label, drawn)))
            guides = {"audio_net": edited["audio"], "video_net": edited["visual"]}
        else:
            edited, guides = targets(label), {"audio_net": label, "video_net": label}
        batch |= {"targets": edited | guides}
        state, logged = step(state, batch, keys.root_key(0), rates)
        losses += [logged[f"loss/{part}"] for part in PARTS]
    np.testing.assert_allclose(losses, numbers[f"{prefix}/losses"], rtol=1e-3)
    for name, layout in LAYOUTS_BY_NETWORK.items():
        own = {kind: tree.get(name, {}) for kind, tree in state.variables.items()}
        rate = config.schedule.learning_rate[name]
        golden = f"{prefix}/after/{PUBLISHED_NAMES[name]}/"
        left = unused if name == "hcmn" else {}
        counts = [leaf for leaf in jax.tree.leaves(own["stats"]) if leaf.ndim == 0]
        assert counts == [steps] * (6 if name == "hcmn" else 0)
        assert_weights(own, layout, left, numbers, golden, moved=rate * steps)
