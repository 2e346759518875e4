"""MM-CSE: golden numbers of its network, attention maps, losses, training and scores."""

import dataclasses
import runpy

import jax
import numpy as np
import pytest
import recipe

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.experiment.settings import flat_config
from avvp_jax.interchange.layouts import other_options
from avvp_jax.interchange.state_dicts import from_published, recognise, to_published
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.mm_cse.losses import (
    MAPS,
    cooccurrence_targets,
    orthogonality,
    reconstruction,
)
from avvp_jax.methods.mm_cse.stages import stages
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import scores
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.nn.functional import make_network
from avvp_jax.streams import STREAM_SETS, data_spec
from avvp_jax.task import LLP, Task
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.step import make_step
from configs.mm_cse import get_config
from tests.first_states import begin
from tests.fixtures import GOLDEN, without_dropout
from tests.short_clips import variables_of
from tests.weights import assert_weights

pytestmark = [pytest.mark.golden, pytest.mark.usefixtures("on_a_cpu")]

LAYOUT = METHODS["mm_cse"].layout
STREAMS = {"mm_cse": "clip_clap", "mm_cse_base": "base"}
stored_labels = runpy.run_path(str(GOLDEN / "make_llp_dense.py"))["stored_labels"]
PREFIXES = {"mm_cse": "forward", "mm_cse_base": "forward_base"}


SMALL = LAYOUT.model | {"width": 8, "class_width": 4, "heads": 2, "feed_forward": 6, "layers": 1}
SMALL |= {"dropout": 0.0}

# What the program uses where it is told nothing else.
DEFAULTS = {
    "seed": 87,
    "data.streams": "clip_clap",
    "train.epochs": 60,
    "train.batch_size": 64,
    "model.width": 256,
    "model.class_width": 128,
    "model.heads": 8,
    "model.feed_forward": 512,
    "model.layers": 4,
    "mm_cse.reconstruction": 0.5,
    "mm_cse.orthogonality": 0.1,
    "mm_cse.cooccurrence": 0.1,
    "optimizer.b1": 0.5,
    "optimizer.b2": 0.999,
    "optimizer.weight_decay": 1e-3,
    "optimizer.clip_norm": 1.0,
    "schedule.kind": "step",
    "schedule.learning_rate": 1e-4,
    "schedule.factor": 0.1,
    "schedule.every_epochs": 10,
    "eval.video_filter": "mixed",
    "eval.select": "segment/type",
    "eval.ties": "earlier",
}


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/mm_cse")


def imported(published_state, name: str, seed: int):
    """A network without dropout, its published state_dict, variables, and what it does not use."""
    layout = dataclasses.replace(LAYOUT, streams=STREAMS[name])
    network, state = without_dropout(layout), published_state(name, seed)
    variables, unused = from_published(state, network.shapes(), layout, "recipe")
    return network, state, variables, unused


def assert_of_largest(found, expected, name: str) -> None:
    """Equal to 1e-5 of the largest number of an array."""
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
    )


@pytest.mark.parametrize("name", STREAMS)
def test_forward_equals_the_published_program(numbers, published_state, recipe_batch, name):
    seed, prefix = int(numbers["seed"]), PREFIXES[name]
    network, _, variables, _ = imported(published_state, name, seed)
    batch = recipe_batch(4, seed, STREAMS[name])
    output = jax.jit(lambda v, x: network.module(v)(x))(variables, batch["features"])
    for prob in ("frame_prob", "global_prob", "audio_prob", "visual_prob", "frame_logits"):
        assert_of_largest(output[prob], numbers[f"{prefix}/{prob}"], prob)
    for loss in (reconstruction, orthogonality):
        for modality, value in loss(output, batch["weight"]).items():
            expected = numbers[f"{prefix}/{modality}_{loss.__name__}"]
            np.testing.assert_allclose(value, expected, rtol=1e-5)
    for which in MAPS if name == "mm_cse" else ():
        found = output["maps"][which][:, [0, 3, 6, 9]]
        assert_of_largest(found, numbers[f"forward/map/{which}"], which)


SQUARED = ("audio_audio", "audio_visual", "visual_visual", "visual_audio")


def test_training_equals_the_published_program(numbers, published_state, recipe_batch):
    """Five steps, and two from sharper attention, which shows which map meets which target."""
    config, seed = get_config(), int(numbers["seed"])
    network, state, variables, unused = imported(published_state, "mm_cse", seed)
    optimizer = make_optimizer(config.optimizer)
    rates = make_schedule(config.schedule, config.train.epochs)(1)
    (stage,) = stages(config)
    step = jax.jit(make_step(network, stage.loss, optimizer))

    def trained(variables, steps: int):
        state, logged = begin(optimizer, variables), []
        for index in range(steps):
            batch = recipe_batch(8, 1000 * seed + index + 1, "clip_clap")
            state, values = step(state, batch, keys.root_key(0), rates)
            logged.append(values)
        return state, {key: np.array([values[key] for values in logged]) for key in logged[0]}

    after, losses = trained(variables, 5)
    assert_losses(losses, numbers, "train")
    np.testing.assert_allclose(losses["loss/global"], numbers["train/video_losses"], rtol=1e-4)
    np.testing.assert_allclose(losses["gradient_norm"], numbers["train/gradient_norms"], rtol=1e-3)
    means = {"video": "global", "valor_v": "teacher_visual", "valor_a": "teacher_audio"}
    for published, ours in means.items():
        expected = numbers[f"train/mean_loss_{published}"]
        np.testing.assert_allclose(np.mean(losses[f"loss/{ours}"]), expected, rtol=1e-4)
    moved = 1e-4 * 5
    assert_weights(
        after.variables, LAYOUT, unused, numbers, "train/after/", moved=moved, entries=2e-4
    )
    gain = np.float32(numbers["sharp/gain"])
    sharp = {n: x * gain if n.endswith("attn.in_proj_weight") else x for n, x in state.items()}
    variables, _ = from_published(sharp, network.shapes(), LAYOUT, "recipe")
    _, losses = trained(variables, 2)
    assert_losses(losses, numbers, "sharp")


def assert_losses(losses: dict, numbers: dict, prefix: str) -> None:
    """The squared errors of each step, and the mean of the whole loss."""
    names = [f"reconstruction_{modality}" for modality in ("audio", "visual")]
    names += [f"cooccurrence_{which}" for which in SQUARED]
    found = np.stack([losses[f"loss/{name}"] for name in names], axis=1)
    np.testing.assert_allclose(found, numbers[f"{prefix}/squared_errors"], rtol=1e-4)
    expected = numbers[f"{prefix}/mean_loss_all"]
    np.testing.assert_allclose(np.mean(losses["loss"]), expected, rtol=1e-4)


def test_cooccurrence_targets_are_the_published_ones(numbers, recipe_batch):
    batch = recipe_batch(8, 1000 * int(numbers["seed"]) + 1, "clip_clap")
    targets = cooccurrence_targets(batch["pseudo_label"])
    short = {"audio_audio": "aa", "visual_visual": "vv", "audio_visual": "av", "visual_audio": "va"}
    assert targets.keys() == short.keys() == set(MAPS)
    for which, name in short.items():
        found = np.asarray(targets[which], np.float64).sum(axis=1)
        np.testing.assert_array_equal(found, numbers[f"train/step0/{name}_map_sum"])


@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_equal_the_published_program(numbers, split):
    weak, true = stored_labels(split)
    probs = recipe.predictions(weak.astype(float), int(numbers["seed"]))
    found = scores(predicted_segments(probs, get_config().eval.video_filter), true)
    assert tuple(numbers["scores/names"]) == tuple(found)
    np.testing.assert_allclose(list(found.values()), numbers[f"scores/{split}"], rtol=0, atol=1e-9)


def test_the_config_has_the_values_of_the_program():
    flat = flat_config(get_config())
    assert {key: flat[key] for key in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("key", ["reconstruction", "orthogonality", "cooccurrence"])
def test_a_loss_counts_as_much_as_the_config_says(published_state, recipe_batch, key):
    """All of its terms, which are logged as they are."""
    network = make_network(ClassParser, (768, 768, 512), 25, **SMALL)
    variables, config = variables_of(network), get_config()
    losses = []
    for weight in (0.0, 2.0):
        config.mm_cse[key] = weight
        losses.append(stages(config)[0].loss)

    @jax.jit
    def both(batch):
        parser = network.module(variables)
        return [loss(parser, batch, jax.random.key(0)) for loss in losses]

    (nothing, _), (total, parts) = both(recipe_batch(2, 5, "clip_clap"))
    totals = nothing, total
    terms = sum(value for name, value in parts.items() if name.startswith(f"loss/{key}"))
    np.testing.assert_allclose(totals[1] - totals[0], 2 * terms, rtol=1e-4)


def test_a_file_of_other_streams_is_known_by_its_widths(tmp_path):
    """The network runs on base features too, and its file need not be told which."""
    pytest.importorskip("torch")
    layout = dataclasses.replace(LAYOUT, model=SMALL)
    for streams in ("base", "clip_clap"):
        shapes = layout.file_network(data_spec(streams)).shapes()
        state = to_published(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), layout, {})
        assert recognise(state, "x.pt", [layout]).streams == streams
        path = str(tmp_path / f"{streams}.pt")
        write_published({path: PublishedFile(state)})
        own = {key: value for key, value in SMALL.items() if value != LAYOUT.model[key]}
        assert load(path, "mm_cse", own).streams == STREAM_SETS[streams]
    assert other_options(SMALL, "base", layout) == ["config.data.streams=base"]


def test_a_file_of_other_classes_says_how_many():
    """Each class has tensors of its own, so that names differ, and not their shapes."""
    task, layout = Task("seven", tuple("abcdefg"), 10, 1), dataclasses.replace(LAYOUT, model=SMALL)
    shapes = layout.file_network(data_spec("clip_clap", task)).shapes()
    state = to_published(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), layout, {})
    assert recognise(state, "x.pt", [layout], task) is layout
    with pytest.raises(UserError, match="and as task its 7 classes, not the 25 of LLP"):
        recognise(state, "x.pt", [layout], LLP)
    with pytest.raises(UserError, match="lacks a_unmix.* the classes and layers that it was"):
        from_published(state, layout.file_network().shapes(), layout, "x.pt")
