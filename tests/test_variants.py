"""Every method and variant that one training makes, through launch.py: killed, resumed, used."""

import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.layouts import LAYOUTS
from avvp_jax.model import load
from avvp_jax.run import run
from avvp_jax.torch_files import PublishedFile, write_published

SMALL = ["--config.model.width=16", "--config.model.feed_forward=16", "--config.train.batch_size=2"]
GUIDES = [f"--config.{net}.feed_forward=16" for net in ("audio_net", "video_net")]
GUIDES += ["--config.base.train.epochs=2", "--config.base.train.batch_size=2"]
VARIANTS = ("valor", "valor.py:plus", "valor.py:plus_plus", "dhhn", "dhhn.py:origin")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_midway_ends_as_one_that_was_not(
    launch, published_folder, data_dir, tmp_path, variant
):
    name = variant if ".py" in variant else f"{variant}.py"
    flags = [f"--config=configs/{name}", *SMALL, *(GUIDES if "dhhn" in name else [])]
    flags += [f"--config.data.data_dir={data_dir}", f"--config.data.manual_dir={published_folder}"]
    flags += ["--config.train.epochs=6"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = launch(*flags, f"--workdir={whole}")
    assert done.returncode == 0, done.stderr
    process = launch(*flags, f"--workdir={killed}", start=subprocess.Popen)
    deadline = time.monotonic() + 180
    while not any(killed.glob("train/latest/[2-5]")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "scores_test.json").exists()
    resumed = launch(*flags, f"--workdir={killed}")
    assert resumed.returncode == 0, resumed.stderr
    assert "train: going on after epoch" in resumed.stdout
    same_predictions(whole, killed)


def same_predictions(one: pathlib.Path, two: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    parsers = [load(workdir) for workdir in (one, two)]
    widths = {"vggish": 128, "resnet152": 2048, "r2plus1d": 512, "clap": 768, "clip": 768}
    inputs = {
        name: rng.standard_normal((3, 10, widths[name]), np.float32) for name in parsers[0].streams
    }
    first, second = (parser.predict(inputs) for parser in parsers)
    np.testing.assert_array_equal(first.frame_prob, second.frame_prob)
    np.testing.assert_array_equal(first.audio_prob, second.audio_prob)


@pytest.fixture
def published_files(tmp_path, published_state):
    """method -> (what to give to init_from, its state_dicts by part)."""

    def write(method: str):
        layout, prefix = LAYOUTS[method], str(tmp_path / f"{method}-published")
        states = {
            part: published_state(method, 3 + i) for i, part in enumerate(sorted(layout.files))
        }
        for part, state in states.items():
            write_published(f"{prefix}{layout.files[part]}", PublishedFile(state))
        return prefix, states

    return write


@pytest.mark.parametrize("method", ["valor", "valor_plus_plus", "dhhn"])
def test_published_checkpoints_are_evaluated_and_exported_unchanged(
    published_files, published_folder, data_dir, tmp_path, method
):
    torch = pytest.importorskip("torch")
    import importlib

    module, variant = ("dhhn", "") if method == "dhhn" else ("valor", method[6:])
    config = importlib.import_module(f"configs.{module}").get_config(variant)
    config.data.data_dir, config.data.manual_dir = str(data_dir), str(published_folder)
    config.init_from, states = published_files(method)
    workdir = str(tmp_path / "W")
    run(config, workdir, "predict")
    predicted = dict(np.load(f"{workdir}/predictions_test.npz"))
    assert ("global_prob" in predicted) == (method != "dhhn")
    config.export_to = str(tmp_path / "out")
    run(config, workdir, "export")
    for part, state in states.items():
        written = torch.load(f"{config.export_to}{LAYOUTS[method].files[part]}", weights_only=True)
        assert written.keys() == state.keys()
        for name, value in state.items():
            assert written[name].numpy().dtype == value.dtype
            np.testing.assert_array_equal(written[name].numpy(), value)


def test_a_published_dhhn_is_loaded_by_what_its_names_have_in_common(published_files):
    prefix, _ = published_files("dhhn")
    parser = load(prefix)
    rng = np.random.default_rng(0)
    widths = {"vggish": 128, "resnet152": 2048, "r2plus1d": 512}
    inputs = {name: rng.standard_normal((10, w), np.float32) for name, w in widths.items()}
    prediction = parser.predict(inputs)
    assert prediction.global_prob is None
    assert prediction.frame_prob.shape == (1, 10, 2, 25)
    with pytest.raises(UserError, match="one part of a dhhn parser"):
        load(f"{prefix}_audio.pt")


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
    with pytest.raises(UserError, match="holds one of the three networks"):
        run(config, str(tmp_path / "W"), "train")


def test_valor_without_teachers_labels_says_how_to_get_them(small_config, tmp_path):
    from tests.tfds_llp.published_folder import write_published

    config = small_config("valor")
    folder = write_published(tmp_path / "DATA", ("vggish", "resnet152", "r2plus1d"))
    config.data.manual_dir, config.data.data_dir = str(folder), str(tmp_path / "tfds")
    with pytest.raises(UserError, match=r"CLAP/segment_pseudo_labels.*tfds_llp\.elaborate"):
        run(config, str(tmp_path / "W"), "train")
    assert not list((tmp_path / "W").iterdir())
