"""Many seeds in one program: each is the single run of its seed, and stops alone."""

import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.methods import stages_of
from avvp_jax.methods.han import stages as han
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.metrics.scores import NAMES
from avvp_jax.modes import run
from avvp_jax.modes.compare import compare
from avvp_jax.nn.functional import Network, parser_network
from avvp_jax.runtime.mesh import by_seed, make_mesh, over_seeds, place
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.sequence import final_stage
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import Loss
from configs.han import get_config
from tests.compilation import compiled_anew
from tests.first_states import begin, han_trainer
from tests.run_files import weights_of
from tests.training.test_trainer import STEP, WIDTHS, data
from tests.weights import assert_close

METHODS = {
    "han": ("han", ""),
    "ma": ("ma", ""),
    "jomold": ("jomold", ""),
    "cmpae": ("cmpae", ""),
    "valor": ("valor", ""),
    "dhhn": ("dhhn", ""),
    "mm_cse": ("mm_cse", ""),
    "leap": ("leap", ""),
}


@pytest.mark.parametrize("method", METHODS)
def test_several_seeds_are_single_runs(finished, method):
    """Of every method and all its stages: the same epochs chosen, the same weights."""
    config, several, _ = finished(*METHODS[method], seeds=2)
    both = weights_of(several)
    assert [weights.seed for weights in both] == [config.seed, config.seed + 1]
    record = json.loads((several / "scores_test.json").read_text())
    # The second seed, alone: it shares nothing with the config of both but what all seeds share.
    single, workdir, _ = finished(*METHODS[method])
    assert single.seed == config.seed + 1
    (alone,) = weights_of(workdir)
    assert alone.epoch == both[1].epoch
    assert_close(alone.variables, both[1].variables, moved=3e-4 * 2 * 2)
    scores = json.loads((workdir / "scores_test.json").read_text())
    assert record["seeds"][1]["seed"] == single.seed
    for name in NAMES:
        np.testing.assert_allclose(record["seeds"][1][name], scores[name], atol=1e-3)
    one, other = (jax.tree.leaves(weights.variables["params"]) for weights in both)
    assert max(np.abs(x - y).max() for x, y in zip(one, other, strict=True)) > 1e-2


@pytest.fixture(params=["in turn", "side by side"])
def arrangement(request, monkeypatch):
    """How the seeds of a compiled call run, on a CPU and elsewhere."""
    monkeypatch.setattr("avvp_jax.runtime.mesh.in_turn", lambda _: request.param == "in turn")
    compiled_anew(monkeypatch, "avvp_jax.training.trainer", "programs")


def trainer_of(model: dict, seeds: list[int], arrays=None, own=None):
    """A trainer of seeds on eight videos, and their first states."""
    network = parser_network(WIDTHS, len(LLP.classes), model)
    optimizer = make_optimizer(get_config().optimizer)
    roots = jnp.stack([keys.root_key(seed) for seed in seeds])
    schedule = make_schedule(STEP, 40)
    trainer = han_trainer(network, optimizer, schedule, roots, arrays or data(8), own)
    states = [begin(optimizer, network.init(keys.init_key(root))) for root in roots]
    states = jax.tree.map(lambda *each: np.stack(each), *states)
    states = place(states, by_seed(make_mesh(len(seeds))))
    return trainer, trainer.with_zero_sums(states)


@pytest.mark.parametrize(("seeds", "loop"), [(1, False), (2, True)])
def test_one_seed_in_turn_needs_no_loop(seeds, loop, monkeypatch):
    """It would copy the state in and out."""
    monkeypatch.setattr("avvp_jax.runtime.mesh.in_turn", lambda _: True)
    program = jax.make_jaxpr(partial(over_seeds, make_mesh(), jnp.sin))(jnp.ones((seeds, 3)))
    assert ("scan" in str(program)) == loop


def test_seeds_see_their_own_batches_and_dropout(small_model, arrangement):
    """The first epoch's order, losses and gradients, with dropout, to 1e-5."""
    both, state = trainer_of(small_model, [3, 4])
    order = np.asarray(both.order.on_devices(jnp.ones(2, jnp.int32)))
    _, logged = both.run_epoch(state, 1)
    for index, seed in enumerate((3, 4)):
        alone, state = trainer_of(small_model, [seed])
        np.testing.assert_array_equal(
            alone.order.on_devices(jnp.ones(1, jnp.int32))[0], order[index]
        )
        _, expected = alone.run_epoch(state, 1)
        for name in ("loss", "gradient_norm"):
            np.testing.assert_allclose(logged[name][index], expected[name][0], rtol=1e-5)
    assert (order[0] != order[1]).any()
    assert logged["loss"][0] != logged["loss"][1]


def test_a_seed_that_diverges_stops_alone(small_model, arrangement):
    """From the step on at which its loss is not finite it keeps its weights; the other goes on."""
    arrays = data(8)
    targets = arrays.videos.pop("targets")
    own = {name: np.stack([x, x]) for name, x in targets.items()}

    def trained():
        own_arrays, model = BatchArrays({"targets": own}), small_model | {"dropout": 0.0}
        trainer, state = trainer_of(model, [3, 4], arrays, own_arrays)
        return trainer.order, *trainer.run_epoch(state, 1)

    order, reference, _ = trained()
    second = int(order.on_host(1)[1, 1, 0])
    own["video"][1, second, 0] = np.nan  # a video of the second seed's second step
    _, after, logged = trained()
    assert np.asarray(after.stopped).tolist() == [-1, 1]
    assert np.isfinite(logged["loss"][0])
    assert np.isnan(logged["loss"][1])
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x[0], y[0]), after.params, reference.params
    )
    assert int(after.optimizer.count[1]) == 1
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(after.params))


def diverging(plain: Loss, network: Network, seed: int) -> Loss:
    """A loss that is not finite for a network as the seed draws it."""
    marked = network.init(keys.init_key(keys.root_key(seed)))["params"]["fc_a"]["bias"][0]

    def loss(parser, batch, key):
        total, parts = plain(parser, batch, key)
        return jnp.where(parser.fc_a.bias[0] == marked, jnp.nan, total), parts

    return loss


@pytest.mark.parametrize("at_once", [0, 1])
def test_a_seed_that_diverges_is_left_out(small_config, tmp_path, monkeypatch, capsys, at_once):
    """Also where it is the only one of its group: the others train, and the mean is theirs."""
    config = small_config("han")
    config.num_seeds, config.seeds_at_once, config.eval.splits = 3, at_once, ("val",)
    stage, spec = final_stage(config, stages_of(config)), data_spec(config.data.streams)
    network = stage.trained_network(config, spec)
    monkeypatch.setattr(han, "loss", diverging(han.loss, network, 2))
    run(config, str(tmp_path), "train")
    said = capsys.readouterr()
    assert "seed 2, epoch 1, step 1: loss or gradient is not finite" in said.out + said.err
    record = json.loads((tmp_path / "scores_val.json").read_text())
    assert [seed.get("diverged", False) for seed in record["seeds"]] == [False, True, False]
    good = [record["seeds"][index]["segment/type"] for index in (0, 2)]
    np.testing.assert_allclose(record["mean"]["segment/type"], np.mean(good))
    run(config, str(tmp_path), "train")  # finished before, and known to have diverged
    again = json.loads((tmp_path / "scores_val.json").read_text())
    assert again["seeds"] == record["seeds"]
    assert load(str(tmp_path)) is not None
    with pytest.raises(UserError, match="the seeds of this run are 1, 2, 3"):
        load(str(tmp_path), seed=4)


def test_where_every_seed_diverges_the_run_says_so(small_config, tmp_path):
    config = small_config("han")
    config.num_seeds, config.schedule.learning_rate = 2, 1e9
    with pytest.raises(UserError, match="every seed of this run has diverged"):
        run(config, str(tmp_path), "train")


def test_a_seed_that_diverges_takes_no_part_in_later_stages(small_config, tmp_path, monkeypatch):
    config = small_config("jomold")
    config.num_seeds = 2
    network = stages_of(config)[0].trained_network(config, data_spec(config.data.streams))
    loss = diverging(jomold.estimator_loss, network, config.seed)
    monkeypatch.setattr(jomold, "estimator_loss", loss)
    run(config, str(tmp_path), "train")
    assert [weights.diverged for weights in weights_of(tmp_path)] == [True, False]


@pytest.fixture(scope="module")
def in_groups(small_config, tmp_path_factory):
    """HAN with three seeds, two at once."""
    config, workdir = small_config("han"), tmp_path_factory.mktemp("groups") / "W"
    config.num_seeds, config.seeds_at_once = 3, 2
    run(config, str(workdir), "train")
    return config, workdir


def test_a_run_in_groups_refuses_another_config(in_groups, tmp_path):
    config = in_groups[0].copy_and_resolve_references()
    workdir = str(shutil.copytree(in_groups[1], tmp_path / "W"))
    config.schedule.learning_rate = 0.5
    with pytest.raises(UserError, match="schedule.learning_rate was 0.0003 and is now 0.5"):
        run(config, workdir, "train")
    config.schedule.learning_rate, config.pick_seed = 3e-4, 9
    with pytest.raises(UserError, match=r"config\.pick_seed=9: the seeds of this run are 1, 2, 3"):
        run(config, workdir, "train")


def test_groups_of_seeds_are_the_same_runs(in_groups, finished):
    _, workdir = in_groups
    assert sorted(p.name for p in (workdir / "train").iterdir()) == ["seeds_1-2", "seeds_3-3"]
    other = finished("han", seeds=3).workdir
    for x, y in zip(weights_of(workdir), weights_of(other), strict=True):
        assert (x.seed, x.epoch) == (y.seed, y.epoch)
        assert_close(x.variables, y.variables, moved=3e-4 * 2 * 2)


def test_scores_are_stored_by_seed_and_summarised(finished):
    workdir = finished("han", seeds=3).workdir
    record = json.loads((workdir / "scores_val.json").read_text())
    assert [seed["seed"] for seed in record["seeds"]] == [1, 2, 3]
    table = np.array([[seed[name] for name in NAMES] for seed in record["seeds"]])
    for index, name in enumerate(NAMES):
        values = table[:, index]
        np.testing.assert_allclose(record["mean"][name], values.mean())
        np.testing.assert_allclose(record["std"][name], values.std(ddof=1), atol=1e-12)
        # Student's t of two degrees of freedom at 97.5 %.
        expected = 4.302653 * values.std(ddof=1) / 3**0.5
        np.testing.assert_allclose(record["ci95"][name], expected, rtol=1e-5, atol=1e-12)


def test_predict_takes_the_picked_seed(finished, tmp_path):
    config, workdir, _ = finished("han", seeds=3)
    config = config.copy_and_resolve_references()
    shutil.copytree(workdir, tmp_path / "W")
    probs = {}
    for seed in (-1, 1, 2, 3):
        config.pick_seed = seed
        run(config, str(tmp_path / "W"), "predict")
        probs[seed] = np.load(tmp_path / "W/predictions_val.npz")["frame_prob"]
    scores = [w.score for w in weights_of(workdir)]
    np.testing.assert_array_equal(probs[-1], probs[1 + int(np.argmax(scores))])
    assert np.abs(probs[1] - probs[2]).max() > 1e-4
    config.pick_seed = 7
    with pytest.raises(UserError, match=r"config\.pick_seed=7.*are 1, 2, 3"):
        run(config, str(tmp_path / "W"), "predict")


def test_work_directories_are_compared(finished, tmp_path):
    workdir, other = finished("han", seeds=3).workdir, finished("ma").workdir
    shutil.copytree(workdir, again := tmp_path / "again")
    text = compare([str(workdir), str(again), str(other)])
    assert f"{workdir} (3 seeds)" in text
    assert f"{other} (1 seed)" in text
    assert f"{again} and {workdir} (paired t-test)" in text
    assert f"{other} and {workdir} (Welch's t-test)" in text
    assert "HAN (paper, test)" in text and "MA (paper, test)" in text
    with pytest.raises(UserError, match="needs work directories"):
        compare([str(workdir)])
    with pytest.raises(UserError, match="scores_test.json: not there; run --mode=eval"):
        compare([str(workdir), str(tmp_path / "nowhere")])
    (again / "config.json").unlink()  # as where somebody's weights were evaluated
    assert f"{again} and {workdir} (Welch's t-test)" in compare([str(workdir), str(again)])
    for damage in ({"seeds": []}, {"method": "other"}, {"seeds": [{"seed": 1}]}):
        path = again / "scores_test.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        with pytest.raises(UserError, match="scores_test.json: damaged"):
            compare([str(workdir), str(again)])
