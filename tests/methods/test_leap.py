"""LEAP: golden numbers of its network, its losses and its training, and how it starts."""

import dataclasses
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
import recipe_next
import torch

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.experiment.plan import make_plan
from avvp_jax.interchange.state_dicts import from_published, to_published
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.leap import stages as leap
from avvp_jax.methods.leap.label_embeddings import NAME, made_up
from avvp_jax.methods.losses import bce
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.modes import run
from avvp_jax.task import LLP, MODALITIES
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.run import whole_run
from avvp_jax.training.step import make_step
from configs.leap import get_config
from tests.first_states import begin
from tests.fixtures import GOLDEN, without_dropout
from tests.weights import assert_weights

LAYOUT = METHODS["leap"].layout
RATE = 1e-4
EXACT = jax.lax.Precision.HIGHEST


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/leap")


@pytest.fixture(scope="module")
def imported(numbers, published_state):
    """The published network without dropout, its golden weights, and what it does not use."""
    seed, network = int(numbers["seed"]), without_dropout(LAYOUT)
    state, given = published_state("leap", seed), {NAME: recipe_next.label_embedding(seed)}
    return network, *from_published(state, network.shapes(), LAYOUT, "recipe", given)


def assert_as_published(found, wanted, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.golden
def test_forward_equals_the_published_program(numbers, imported, recipe_batch):
    network, variables, _ = imported
    features = recipe_batch(4, int(numbers["seed"]))["features"]
    output = jax.jit(lambda v, x: network.module(v)(x))(variables, features)
    for name in ("global_prob", "audio_prob", "visual_prob", "audio_stream", "visual_stream"):
        assert_as_published(output[name], numbers[f"forward/{name}"])
    for index, modality in enumerate(MODALITIES):
        assert_as_published(
            output["frame_prob"][:, :, index], numbers[f"forward/{modality}_frame_prob"]
        )
        assert_as_published(
            output[f"{modality}_labels"], numbers[f"forward/{modality}_label_stream"]
        )


def training_batch(recipe_batch, step: int, seed: int) -> dict:
    """The recipe's batch of a step, whose first videos lack labels by teachers."""
    drawn = recipe_next.leap_batch(step, seed)
    batch = recipe_batch(8, 1000 * seed + step + 1)
    return batch | {"pseudo_label": {m: drawn[f"{m}_pseudo"] for m in MODALITIES}}


@pytest.mark.golden
def test_training_equals_the_published_program(numbers, imported, recipe_batch):
    """Losses of five steps and the weights after them, with the config's optimizer."""
    config, seed = get_config(), int(numbers["seed"])
    network, variables, unused = imported
    optimizer = make_optimizer(config.optimizer)
    step = jax.jit(make_step(network, leap.LOSSES["program"], optimizer), donate_argnums=0)
    state, logged = begin(optimizer, variables), []
    for index in range(5):
        batch = training_batch(recipe_batch, index, seed)
        state, values = step(state, batch, keys.root_key(0), RATE)
        logged.append(jax.device_get(values))
    for golden, parts in {
        "losses": ("audio", "visual", "global"),
        "segments": ("teacher_visual", "teacher_audio"),
        "similarity": ("similarity",),
    }.items():
        found = [values[f"loss/{part}"] for values in logged for part in parts]
        np.testing.assert_allclose(found, numbers[f"train/{golden}"], rtol=1e-4, err_msg=golden)
    assert_weights(state.variables, LAYOUT, unused, numbers, "train/after/", RATE * 5)
    np.testing.assert_array_equal(state.stats[NAME], recipe_next.label_embedding(seed))


@pytest.mark.golden
def test_the_similarity_loss_and_its_gradients_are_the_published_ones(numbers):
    streams, labels = (
        {m: jnp.asarray(numbers[f"similarity/input/{m}_{what}"]) for m in MODALITIES}
        for what in ("stream", "labels")
    )
    loss = lambda x: leap.similarity_loss(x, labels, np.ones(8, np.float32), EXACT)  # noqa: E731
    total, slopes = jax.value_and_grad(loss)(streams)
    np.testing.assert_allclose(total, numbers["similarity/loss"], rtol=1e-4)
    for modality, slope in slopes.items():
        assert_as_published(slope, numbers[f"similarity/gradient/{modality}_stream"])


@pytest.mark.golden
def test_the_learning_rate_is_the_published_one_in_every_epoch(numbers):
    config = get_config()
    schedule = make_schedule(config.schedule, config.train.epochs)
    rates = [float(schedule(epoch)) for epoch in range(1, config.train.epochs + 1)]
    np.testing.assert_allclose(rates, numbers["schedule/lr"], rtol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_are_those_of_the_published_filter(numbers, split):
    stored = runpy.run_path(str(GOLDEN / "make_llp_dense.py"))["stored_labels"]
    weak, true = stored(split)
    probs = recipe.predictions(weak.astype(float), int(numbers["seed"]))
    found = scores(predicted_segments(probs, LAYOUT.video_filter), true)
    assert tuple(numbers["scores/names"]) == NAMES == tuple(found)
    np.testing.assert_allclose(list(found.values()), numbers[f"scores/{split}"], rtol=0, atol=1e-9)


SMALL = {"width": 16, "feed_forward": 12, "label_width": 5}


def test_it_starts_from_copies_as_the_published_program():
    layout = dataclasses.replace(LAYOUT, model=LAYOUT.model | SMALL)
    params = jax.device_get(layout.file_network().init(jax.random.key(0)))["params"]
    pyramid, decoder = params["pyramid"], params["decoder"]
    blocks = [
        level[name]
        for level in pyramid["levels"].values()
        for name in ("audio_self", "visual_self", "cross")
    ]
    decoding = [*decoder["audio_layers"].values(), *decoder["visual_layers"].values()]
    fusions = [pyramid["audio_fusion"], pyramid["visual_fusion"]]
    for block in (*blocks, *decoding, *fusions):
        assert_equal(*block["attention"]["linears"].values())
        assert block["attention"]["linears"][0]["bias"].any()
    assert_equal(*(block["feed_forward"] for block in blocks))
    assert_equal(*decoding)
    assert_equal(*fusions)
    queries = [block["attention"]["linears"][0]["kernel"] for block in (*blocks, decoding[0])]
    assert len(np.unique([*queries, fusions[0]["attention"]["linears"][0]["kernel"]], axis=0)) == 14
    gates = [x for name, x in pyramid["levels"][0].items() if name.endswith("gate")]
    assert len({float(gate["bias"][0]) for gate in gates}) == 4


def assert_equal(first, *others) -> None:
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)


def test_where_two_names_of_a_tensor_differ_the_first_counts():
    layout = dataclasses.replace(LAYOUT, model=LAYOUT.model | SMALL)
    shapes = layout.file_network().shapes()
    state = to_published(jax.tree.map(lambda x: np.zeros(x.shape), shapes), layout, {})
    for number, name in enumerate(("net.2", "conv2"), start=1):
        state[f"MMP.capture.vnetwork.1.{name}.bias"] = np.full(16, number, np.float32)
    variables, unused = from_published(state, shapes, layout, "x.pt")
    convolution = variables["params"]["pyramid"]["visual_convolutions"][1]["narrow"]
    assert set(convolution["bias"]) == {1}
    written = to_published(variables, layout, unused)
    assert written.keys() == state.keys() and written["MMP.capture.vnetwork.1.conv2.bias"][0] == 1


def test_the_loss_of_a_hard_probability_is_logged_and_has_no_gradient():
    label = np.array([[1, 0, 1, 0]], np.float32)
    found = bce(jnp.array([[0.0, 1.0, 1.0, 0.0]]), label, np.ones(1, np.float32))
    np.testing.assert_allclose(found, (16.118 + 15.942) / 4, atol=1e-3)


def test_a_run_that_resumes_needs_no_file_of_embeddings(finished, tmp_path):
    """They are in its state; a run that begins asks for them."""
    config, workdir, _ = finished("leap")
    config = config.copy_and_resolve_references()
    config.leap.label_embeddings = str(tmp_path / "gone.pt")
    leap.demands(whole_run(config, str(workdir), []))
    with pytest.raises(UserError, match=r"gone\.pt: cannot be read"):
        leap.demands(whole_run(config, str(tmp_path / "W"), []))


def test_embeddings_that_a_model_has_no_use_for_are_refused(finished, published_state, tmp_path):
    path, workdir = tmp_path / "han.pt", finished("leap").workdir
    write_published({str(path): PublishedFile(published_state("han", 1))})
    for model, given, says in (
        (workdir, tmp_path / "e.pt", "W: a run has its own label_embeddings; load it without"),
        (path, tmp_path / "e.pt", "han.pt: han takes no label_embeddings"),
        (path, 3, "label_embeddings must be a path, not 3"),
    ):
        with pytest.raises(UserError, match=says):
            load(model, label_embeddings=given)


def test_training_on_from_a_run_takes_no_other_embeddings(finished, tmp_path):
    config, workdir, _ = finished("leap")
    config = config.copy_and_resolve_references()
    config.init_from, config.leap.label_embeddings = str(workdir), str(tmp_path / "e.pt")
    with pytest.raises(UserError, match=r"init_from=.*W: a run has its own label_embeddings"):
        make_plan(config, str(tmp_path / "other"))


def test_an_exported_model_says_the_same_when_it_is_read_again(
    finished, tmp_path, monkeypatch, capsys
):
    """With embeddings that come with the work directory, and from a file beside the .pt."""
    config, workdir, _ = finished("leap")
    model = config.model.to_dict()
    for key in model:
        monkeypatch.setitem(LAYOUT.model, key, model[key])
    config = config.copy_and_resolve_references()
    config.export_to, config.init_from = str(tmp_path / "out.pt"), str(workdir)
    run(config, str(tmp_path / "X"), "export")
    assert "it does not hold label_embeddings: give them again" in capsys.readouterr().out
    embeddings = made_up(LLP, model["label_width"])
    vectors = dict(zip(LLP.classes, map(torch.from_numpy, embeddings), strict=True))
    torch.save(vectors, tmp_path / "e.pt")
    with pytest.raises(UserError, match="load's label_embeddings"):
        load(config.export_to)
    rng = np.random.default_rng(0)
    widths = {"vggish": 128, "resnet152": 2048, "r2plus1d": 512}
    inputs = {name: rng.standard_normal((2, 10, w), np.float32) for name, w in widths.items()}
    ours, theirs = load(workdir), load(config.export_to, label_embeddings=tmp_path / "e.pt")
    found, wanted = (parser.predict(inputs) for parser in (theirs, ours))
    np.testing.assert_array_equal(found.frame_prob, wanted.frame_prob)
    assert set(np.unique(found.global_prob)) <= {0, 1}
    config.init_from, config.leap.made_up_embeddings = config.export_to, False
    config.leap.label_embeddings = str(tmp_path / "e.pt")
    run(config, str(tmp_path / "Y"), "predict")
    assert (tmp_path / "Y/predictions_test.npz").exists()
