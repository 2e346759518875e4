"""CMPAE's runs: whose thresholds decide, stages one by one, and pages about them."""

import contextlib
import importlib
import io
import json
import shutil

import jax
import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.experiment.weights import read_all_weights
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods.cmpae.method import LAYOUT
from avvp_jax.methods.cmpae.thresholds import CANDIDATES, read_thresholds, write_thresholds
from avvp_jax.modes import comparison, run
from avvp_jax.streams import data_spec


def thresholds_file(path, classes: int = 25) -> str:
    """A file of thresholds of 0.4."""
    write_thresholds(str(path), np.full(classes, 0.4), np.zeros((classes, len(CANDIDATES))))
    return str(path)


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_thresholds_that_are_given_make_those_of_a_run_needless(finished, tmp_path, capsys, lost):
    """A file that the config names is as much a run's own as one that its stage left."""
    config, workdir, _ = finished("cmpae")
    workdir = shutil.copytree(workdir, tmp_path / "W")
    own, given = workdir / "thresholds/thresholds.npz", thresholds_file(tmp_path / "given.npz")
    own.unlink() if lost == "gone" else own.write_bytes(b"x")
    assert load(workdir, thresholds=given)._decision.video[1] == (0.4,) * 25
    record = json.loads((workdir / "config.json").read_text())
    record["config"]["cmpae"]["thresholds"] = str(tmp_path / "theirs.npz")
    (workdir / "config.json").write_text(json.dumps(record))
    assert load(workdir, thresholds=given)._decision.video[1] == (0.4,) * 25
    with pytest.raises(UserError, match=r"theirs.npz: cannot be read.*as config.cmpae.thresholds"):
        load(workdir)
    config = config.copy_and_resolve_references()
    config.cmpae.thresholds = given
    run(config, str(workdir), "predict")
    assert "warning" not in capsys.readouterr().err


def test_a_training_from_given_weights_finds_its_noise_anew(finished, tmp_path):
    """The estimator is another network than the model that is given, and is drawn as ever."""
    config, whole, _ = finished("cmpae")
    config = config.copy_and_resolve_references()
    config.init_from = str(whole)
    run(config, str(tmp_path / "W"), "train")
    ratios = [np.load(folder / "ratios/noise_ratios.npz") for folder in (whole, tmp_path / "W")]
    for name in ratios[0]:
        np.testing.assert_array_equal(ratios[0][name], ratios[1][name])
    first, second = (load(folder)._variables["params"] for folder in (whole, tmp_path / "W"))
    moved = np.abs(first["fc_a"]["kernel"] - second["fc_a"]["kernel"]).max()
    assert 0 < moved < 0.01


def test_the_early_model_and_its_thresholds_are_exported_too(finished, tmp_path, monkeypatch):
    """As published: NAME.pt, NAME_early.pt and NAME_early.xlsx; the folder is that of the first."""
    torch = pytest.importorskip("torch")
    config, whole, _ = finished("cmpae")
    for key in ("width", "feed_forward", "dropout", "absence_dropout"):
        monkeypatch.setitem(LAYOUT.model, key, config.model[key])
    config = config.copy_and_resolve_references()
    config.export_to = str(tmp_path / "x.pt")
    run(config, str(whole), "export")
    assert {path.name for path in tmp_path.iterdir()} == {"x.pt", "x_early.pt", "x_early.xlsx"}
    early = torch.load(tmp_path / "x_early.pt", weights_only=True)
    assert early["epochs"] == min(config.cmpae.early_epoch, config.train.epochs)
    left = str(whole / "thresholds/thresholds.npz")
    chosen = read_thresholds(str(tmp_path / "x_early.xlsx"))
    np.testing.assert_array_equal(chosen, read_thresholds(left))
    again = load(tmp_path, thresholds=tmp_path / "x_early.xlsx")
    assert again._decision == load(whole)._decision
    jax.tree.map(np.testing.assert_array_equal, again._variables, load(whole)._variables)
    assert load(tmp_path / "x_early.pt").streams == ("vggish", "resnet152", "r2plus1d")


def test_in_eval_too_a_file_of_other_classes_is_named(finished, tmp_path):
    config, workdir, _ = finished("cmpae")
    few, config = thresholds_file(tmp_path / "few.npz", 3), config.copy_and_resolve_references()
    config.cmpae.thresholds, config.init_from = few, str(workdir)
    for mode in ("eval", "predict"):
        with pytest.raises(UserError, match=r"few.npz: has 3 thresholds, and the task 25 classes"):
            run(config, str(tmp_path / "W"), mode)
    assert not (tmp_path / "W").exists() or not list((tmp_path / "W").iterdir())


def test_the_scores_are_those_by_thresholds_that_are_chosen_later(finished, tmp_path, capsys):
    """Training alone decides at 0.45, and says so; the last stage alone scores again."""
    config, whole, _ = finished("cmpae")
    workdir = shutil.copytree(whole, tmp_path / "W")
    (workdir / "thresholds/thresholds.npz").unlink()
    scores = {}
    for stage in ("train", "thresholds"):
        config = config.copy_and_resolve_references()
        config.stages = (stage,)
        run(config, str(workdir), "train")
        told = capsys.readouterr().err
        assert ("decided at 0.45 for all" in told) == (stage == "train")
        scores[stage] = np.load(workdir / "parsed_test.npz")["predicted"]
    chosen = read_thresholds(str(workdir / "thresholds/thresholds.npz"))
    np.testing.assert_array_equal(chosen, read_thresholds(str(whole / "thresholds/thresholds.npz")))
    np.testing.assert_array_equal(
        scores["thresholds"], np.load(whole / "parsed_test.npz")["predicted"]
    )
    assert not np.array_equal(scores["train"], scores["thresholds"])


def test_its_pages_show_its_stages_and_compare_it(finished, tmp_path, capsys):
    """The page of a run, and one with JoMoLD, of other data sets with the same videos."""
    (_, cmpae, _), (_, jomold, _) = (finished(name) for name in ("cmpae", "jomold"))
    page = (cmpae / "report.html").read_text()
    for part in ("Stage estimator", "Stage train", "ratios/noise_ratios.table.json", "66.4"):
        assert part in page
    comparison.run([str(jomold), str(cmpae)], str(tmp_path / "c.html"))
    told, page = capsys.readouterr().out, (tmp_path / "c.html").read_text()
    assert "CMPAE" in told and "JoMoLD" in told and "not tested" not in told
    assert "CMPAE (paper, test)" in page and "cmpae.early_epoch" in page and "NaN" not in page


def test_a_published_model_of_frames_says_so_of_averages(published_state, tmp_path):
    path, config = str(tmp_path / "cmpae.pt"), importlib.import_module("configs.cmpae").get_config()
    write_published({path: PublishedFile(published_state("cmpae", 3), {"epochs": 20})})
    config.init_from, told = path, {}
    for dataset, streams in (("llp/base", "base"), ("llp/base_frames", "base_frames")):
        config.data.dataset, config.data.streams = dataset, streams
        network = LAYOUT.network(data_spec(streams))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            read_all_weights(path, network, config)
        told[streams] = said.getvalue()
    assert told["base_frames"] == "" and told["base"].count("\n") == 1
    assert "cmpae.pt was trained on all frames of a segment" in told["base"]
