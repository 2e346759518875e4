"""Methods and variants that one training makes: killed, resumed, used."""

import json
import pathlib
import shutil
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import METHODS
from avvp_jax.methods.cmpae.thresholds import write_thresholds
from avvp_jax.methods.dhhn import stages as dhhn
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.methods.valor import stages as valor
from avvp_jax.modes import run
from avvp_jax.training.run import Run, whole_run
from tests.kills import run_and_kill, when_saved
from tests.methods.test_thresholds import cells, write_sheet
from tests.run_files import last_state

# So small, VALOR+ is VALOR; and DHHN's origin is its refinement with other targets.
VARIANTS = [("valor", ""), ("valor", "plus_plus"), ("dhhn", ""), ("leap", ""), ("mm_cse", "")]
# The rows of a video in published files that tests make up.
ROWS = {"vggish": (10, 128), "resnet152": (80, 2048), "r2plus1d": (10, 512)}
ROWS |= {"clap": (10, 768), "clip": (10, 768)}


@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_a_run_killed_midway_ends_as_one_that_was_not(
    small_config, finished, tmp_path, capsys, method, variant
):
    config, killed = small_config(method, variant), tmp_path / "killed"
    run_and_kill(config, tmp_path / "running", killed, when_saved("train", 2))
    capsys.readouterr()
    run(config, str(killed), "train")
    assert "train: going on after epoch 1" in capsys.readouterr().out
    whole = finished(method, variant).workdir
    assert last_state(killed, "train") == last_state(whole, "train")
    same_predictions(whole, killed)


def same_predictions(one: pathlib.Path, two: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    parsers = [load(workdir) for workdir in (one, two)]
    inputs = {x: rng.standard_normal((3, *ROWS[x]), np.float32) for x in parsers[0].streams}
    first, second = (parser.predict(inputs) for parser in parsers)
    np.testing.assert_array_equal(first.frame_prob, second.frame_prob)
    np.testing.assert_array_equal(first.audio_prob, second.audio_prob)


@pytest.fixture
def published_files(tmp_path, published_state):
    """method -> (what to give to init_from, its state_dicts by part)."""

    def write(method: str):
        layout, prefix = METHODS[method].layout, str(tmp_path / f"{method}-published")
        states = {
            part: published_state(method, 3 + i) for i, part in enumerate(sorted(layout.files))
        }
        paths, rest = layout.paths(prefix), {"epochs": 20} if layout.wrapped else None
        write_published({paths[part]: PublishedFile(state, rest) for part, state in states.items()})
        return prefix, states

    return write


@pytest.mark.parametrize("method", ["valor", "valor_plus_plus", "dhhn", "mm_cse", "cmpae"])
def test_published_checkpoints_are_evaluated_and_exported_unchanged(
    published_files, published_folder, data_dir, tmp_path, method
):
    torch = pytest.importorskip("torch")
    import importlib

    variant = method[6:] if method.startswith("valor") else ""
    module = importlib.import_module(f"configs.{METHODS[method].config}")
    config = module.get_config(variant)
    config.data.data_dir, config.data.manual_dir = str(data_dir), str(published_folder)
    config.init_from, states = published_files(method)
    if method == "cmpae":
        config.cmpae.thresholds = str(tmp_path / "thresholds.npz")
        write_thresholds(config.cmpae.thresholds, np.linspace(0.3, 0.7, 25), np.zeros((25, 10)))
    workdir = str(tmp_path / "W")
    run(config, workdir, "predict")
    predicted = dict(np.load(f"{workdir}/predictions_test.npz"))
    assert ("global_prob" in predicted) == (method != "dhhn")
    config.export_to = str(tmp_path / "out")
    run(config, workdir, "export")
    for part, state in states.items():
        path = METHODS[method].layout.paths(config.export_to)[part]
        written = torch.load(path, weights_only=True)
        if METHODS[method].layout.wrapped:
            assert written.keys() == {"model", "epochs"} and written["epochs"] == 20
            written = written["model"]
        assert written.keys() == state.keys()
        for name, value in state.items():
            assert written[name].numpy().dtype == value.dtype
            np.testing.assert_array_equal(written[name].numpy(), value)


def test_a_published_cmpae_decides_by_the_thresholds_that_are_given(
    published_files, published_folder, tmp_path
):
    """One of each visual class, from either kind of file; what is heard is decided as before."""
    path, _ = published_files("cmpae")
    thresholds, ours = np.linspace(0.3, 0.7, 25), str(tmp_path / "thresholds.npz")
    write_thresholds(ours, thresholds, np.zeros((25, 10)))
    theirs = write_sheet(tmp_path / "early.xlsx", cells(thresholds.tolist()))
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((40, *ROWS[name]), np.float32) for name in list(ROWS)[:3]}
    usual, *others = (
        load(path, thresholds=each).predict(inputs) for each in (None, ours, tmp_path / theirs)
    )
    audio, visual = (usual.frame_prob[:, :, i] >= 0.25 for i in (0, 1))
    audio &= usual.audio_prob[:, None] >= 0.45
    np.testing.assert_array_equal(usual.segments[:, :, 0], audio)
    for found in others:
        np.testing.assert_array_equal(found.segments[:, :, 0], audio)
        whole = usual.visual_prob[:, None] >= thresholds.astype(np.float32)
        np.testing.assert_array_equal(found.segments[:, :, 1], visual & whole)
        assert (found.segments != usual.segments).any()


def test_thresholds_that_a_model_cannot_have_are_refused(published_files, finished, tmp_path):
    ours, few = str(tmp_path / "thresholds.npz"), str(tmp_path / "few.npz")
    write_thresholds(ours, np.full(25, 0.4), np.zeros((25, 10)))
    write_thresholds(few, np.full(3, 0.4), np.zeros((3, 10)))
    cmpae, workdir = published_files("cmpae")[0], finished("cmpae").workdir
    for path, given, says in (
        (published_files("valor")[0], ours, "valor-published.*valor chooses no thresholds"),
        (finished("han").workdir, ours, "W: han chooses no thresholds"),
        (cmpae, few, "few.npz: has 3 thresholds, and the task 25 classes"),
        (workdir, few, "few.npz: has 3 thresholds, and the task 25 classes"),
        (cmpae, tmp_path / "none.xlsx", "none.xlsx: cannot be read"),
        (cmpae, 0.4, "thresholds must be a path, not 0.4"),
    ):
        with pytest.raises(UserError, match=says) as told:
            load(path, thresholds=given)
        assert str(told.value).isprintable()
    model = load(workdir, thresholds=ours)._decision
    assert model.video == ((0.45,) * 25, (0.4,) * 25) and model.segment == 0.25


def test_a_published_dhhn_is_loaded_by_what_its_names_have_in_common(published_files):
    prefix, _ = published_files("dhhn")
    parser = load(prefix)
    rng = np.random.default_rng(0)
    widths = {"vggish": 128, "resnet152": 2048, "r2plus1d": 512}
    inputs = {name: rng.standard_normal((10, w), np.float32) for name, w in widths.items()}
    prediction = parser.predict(inputs)
    assert prediction.global_prob is None
    assert prediction.frame_prob.shape == (1, 10, 2, 25)
    same = load(f"{prefix}_audio.pt").predict(inputs)
    np.testing.assert_array_equal(same.frame_prob, prediction.frame_prob)


def test_a_missing_half_is_named_from_python_too(published_files, tmp_path):
    prefix, _ = published_files("dhhn")
    (tmp_path / "dhhn-published_video.pt").unlink()
    with pytest.raises(UserError, match="dhhn-published_video.pt: no such checkpoint"):
        load(prefix)


def test_a_missing_half_of_a_dhhn_is_named(published_files, small_config, tmp_path):
    config = small_config("dhhn")
    config.model.width = config.model.feed_forward = 512
    config.init_from, _ = published_files("dhhn")
    (tmp_path / "dhhn-published_video.pt").unlink()
    with pytest.raises(UserError, match="dhhn-published_video.pt: no such checkpoint"):
        run(config, str(tmp_path / "W"), "eval")


def test_training_from_a_published_dhhn_is_refused(published_files, small_config, tmp_path):
    config = small_config("dhhn", "origin")
    config.init_from, _ = published_files("dhhn")
    with pytest.raises(UserError, match="trains networks that a finished one does not hold"):
        run(config, str(tmp_path / "W"), "train")


def test_valor_without_teachers_labels_says_how_to_get_them(small_config, tmp_path):
    from tests.tfds_llp.published_folder import write_published

    config = small_config("valor")
    folder = write_published(tmp_path / "DATA", ("vggish", "resnet152", "r2plus1d"))
    config.data.manual_dir, config.data.data_dir = str(folder), str(tmp_path / "tfds")
    with pytest.raises(UserError, match=r"CLAP/segment_pseudo_labels.*tfds_llp\.elaborate"):
        run(config, str(tmp_path / "W"), "train")
    assert not list((tmp_path / "W").iterdir())


def test_an_exported_model_says_the_same_when_it_is_read_again(small_config, tmp_path):
    """Of another size than the published one, and with its norms elsewhere."""
    config, workdir = small_config("valor"), str(tmp_path / "W")
    config.train.epochs = 1
    config.model.norm, config.model.heads, config.model.layers = "pre", 2, 2
    run(config, workdir, "train")
    sizes = ("width", "feed_forward", "norm", "heads", "layers")
    overrides = {key: config.model[key] for key in sizes}
    assert_exported(config, workdir, str(tmp_path / "out.pt"), "valor", overrides)


def test_an_exported_dhhn_says_the_same_when_it_is_read_again(finished, tmp_path, monkeypatch):
    config, workdir, _ = finished("dhhn", "origin")
    # Its published program has one size alone: here that of the tests.
    for key in ("width", "feed_forward"):
        monkeypatch.setitem(METHODS["dhhn"].layout.model, key, config.model[key])
    workdir = shutil.copytree(workdir, tmp_path / "W")
    config = config.copy_and_resolve_references()
    assert_exported(config, str(workdir), str(tmp_path / "out"), "dhhn")


def assert_exported(config, workdir: str, path: str, method: str, overrides=None) -> None:
    """Exports a model, and compares what it and the one in the work directory predict."""
    config.export_to = path
    run(config, workdir, "export")
    rng = np.random.default_rng(0)
    widths = {"vggish": 128, "resnet152": 2048, "r2plus1d": 512}
    inputs = {name: rng.standard_normal((2, 10, w), np.float32) for name, w in widths.items()}
    models = load(workdir), load(path, method, overrides)
    ours, theirs = (model.predict(inputs) for model in models)
    np.testing.assert_array_equal(ours.frame_prob, theirs.frame_prob)
    np.testing.assert_array_equal(ours.visual_prob, theirs.visual_prob)


def test_weights_are_not_read_into_another_network(small_config, finished):
    config = small_config("valor")
    config.model.heads = 4
    with pytest.raises(UserError, match=r"trained with config\.model\.heads=8, not 4"):
        run(config, str(finished("valor").workdir), "predict")


def test_an_earlier_stages_results_do_not_replace_the_last_ones(small_config, finished, tmp_path):
    config = small_config("dhhn")
    workdir = shutil.copytree(finished("dhhn").workdir, tmp_path / "W")
    before = (workdir / "scores_test.json").read_text()
    config.eval.stage = "base"
    run(config, str(workdir), "eval")
    assert (workdir / "scores_test.json").read_text() == before
    record = json.loads((workdir / "base/scores_test.json").read_text())
    assert record["stage"] == "base"


def test_dhhns_guides_learn_each_from_their_own_modality():
    """In both modes; audio_net hears and video_net sees."""
    label = np.zeros((2, 25), np.float32)
    label[:, :3] = 1
    removed = RemovedLabels(*(np.zeros((2, 25), bool) for _ in range(2)))
    removed.audio[0, 0] = removed.visual[1, 1] = True
    run_ = mock.Mock(spec=Run, train=SimpleNamespace(weak_label=label))
    arrays = dhhn.weak_arrays(run_).videos["targets"]
    for guide in ("audio_net", "video_net"):
        np.testing.assert_array_equal(arrays[guide], label)
    run_.options = SimpleNamespace(removed_labels="", edit_video_target=True)
    with mock.patch.object(dhhn.ma, "removed_labels", lambda run, index: removed):
        arrays = dhhn.refined_arrays(run_, 0).videos["targets"]
    assert arrays["audio_net"][0, :3].tolist() == [0, 1, 1]
    np.testing.assert_allclose(arrays["video_net"][1, :4], [0.95, 0, 0.95, 0.05])
    np.testing.assert_array_equal(arrays["video"], arrays["audio_net"])


def test_clap_teaches_hearing_and_clip_seeing(small_config, tmp_path):
    config = small_config("valor")
    run_ = whole_run(config, str(tmp_path), [])
    taught = valor.taught_arrays(run_).videos["pseudo_label"]
    # The nine videos' labels of CLAP are in segments 3 and 4, those of CLIP in 6 to 8.
    assert np.flatnonzero(taught["audio"][0, :, 0]).tolist() == [3, 4]
    assert np.flatnonzero(taught["visual"][0, :, 0]).tolist() == [6, 7, 8]


def test_origin_with_removed_labels_is_refused(small_config, tmp_path):
    config = small_config("dhhn", "origin")
    config.dhhn.removed_labels = "x.npz"
    with pytest.raises(UserError, match="origin trains on weak labels alone"):
        run(config, str(tmp_path / "W"), "train")
