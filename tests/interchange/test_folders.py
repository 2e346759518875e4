"""A folder that holds a published checkpoint, named instead of the file."""

import shutil

import numpy as np
import pytest
import torch

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.interchange.folders import published_in
from avvp_jax.interchange.layouts import Layout
from avvp_jax.methods import METHODS
from avvp_jax.modes import run

HAN, DHHN, EVERY = ["han"], ["dhhn"], list(METHODS)  # names, since parameters name the tests
PAIR = ["X_audio.pt", "X_video.pt"]

# What is in a folder, for which methods, and what names the checkpoint in it.
FOUND = [
    (["HAN.pt"], HAN, "HAN.pt"),
    (["HAN.pth", "log.txt"], HAN, "HAN.pth"),
    (["checkpoint_best.pt", "._checkpoint_best.pt", ".DS_Store"], HAN, "checkpoint_best.pt"),
    (["model_VALOR/checkpoint_best.pt"], HAN, "model_VALOR/checkpoint_best.pt"),
    (["model_VALOR/checkpoint_best.pt", "__MACOSX/x.pt"], EVERY, "model_VALOR/checkpoint_best.pt"),
    (PAIR, DHHN, "X"),
    (PAIR, EVERY, "X"),
    (["_audio.pt", "_video.pt"], DHHN, ""),
    ([*PAIR, "HAN.pt"], DHHN, "X"),
    (["model_DHHN/X_audio.pt", "model_DHHN/X_video.pt"], EVERY, "model_DHHN/X"),
    (["X_audio.pt"], EVERY, "X_audio.pt"),
    (["model.pth.tar", "optimizer.pt"], HAN, "model.pth.tar"),
    (["epoch=3.ckpt", "config.json"], HAN, "epoch=3.ckpt"),
    (["BEST.PT"], HAN, "BEST.PT"),
]
REFUSED = [
    (["a.pt", "b.pt"], HAN, "several published checkpoints: a.pt, b.pt; name one"),
    (["m1/a.pt", "m2/b.pt"], HAN, "several published checkpoints: m1/a.pt, m2/b.pt"),
    ([*PAIR, "HAN.pt"], EVERY, "several published checkpoints: X, HAN.pt"),
    ([*PAIR, "Y_audio.pt", "Y_video.pt"], DHHN, "several published checkpoints: X, Y"),
    (["X_audio.pt"], DHHN, "lacks a published NAME_audio.pt and NAME_video.pt; there is X_aud"),
    (["HAN.pt"], DHHN, "lacks a published NAME_audio.pt and NAME_video.pt; there is HAN.pt"),
    ([], HAN, "not a work directory (it has no config.json), and it lacks a published NAME.pt;"),
    ([".DS_Store"], EVERY, "NAME.pt or NAME_audio.pt and NAME_video.pt; name a work directory"),
    (["notes.txt", "._HAN.pt"], HAN, "lacks a published NAME.pt; name"),
]


def fill(folder, files: list[str]) -> str:
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def layouts_of(methods: list[str]) -> list[Layout]:
    return [METHODS[name].layout for name in methods]


@pytest.mark.parametrize(("files", "methods", "names"), FOUND, ids=str)
def test_the_one_checkpoint_is_found(tmp_path, files, methods, names):
    assert published_in(fill(tmp_path, files), layouts_of(methods)) == f"{tmp_path}/{names}"


@pytest.mark.parametrize(("files", "methods", "says"), REFUSED, ids=str)
def test_several_are_named_and_none_is_missed(tmp_path, files, methods, says):
    with pytest.raises(UserError) as refusal:
        published_in(fill(tmp_path, files), layouts_of(methods))
    assert str(refusal.value).startswith(f"{tmp_path}: ")
    assert says in str(refusal.value)


@pytest.fixture
def folder(tmp_path, published_state):
    """A folder with HAN.pt in it."""
    (tmp_path / "F").mkdir()
    state = {name: torch.from_numpy(value) for name, value in published_state("han", 5).items()}
    torch.save(state, tmp_path / "F/HAN.pt")
    return tmp_path / "F"


def test_init_from_reads_the_checkpoint_in_a_folder(config, folder, tmp_path, capsys):
    config.model.width = config.model.feed_forward = 512
    config.model.layers = 1
    config.init_from, config.export_to = str(folder), str(tmp_path / "out.pt")
    run(config, str(tmp_path / "W"), "export")
    assert capsys.readouterr().err == f"{folder}: reading HAN.pt\n"
    exported = torch.load(tmp_path / "out.pt", weights_only=True)
    expected = torch.load(folder / "HAN.pt", weights_only=True)
    assert all(torch.equal(exported[name], expected[name]) for name in expected)
    (folder / "config.json").write_text('{"architectures": ["HAN"]}')  # of another program
    for mode in ("eval", "predict"):
        run(config, str(tmp_path / "W"), mode)
    assert (tmp_path / "W/scores_test.json").exists()
    shutil.copy(folder / "HAN.pt", folder / "HAN2.pt")
    for mode in ("export", "eval", "train"):
        with pytest.raises(UserError, match="checkpoints: HAN.pt, HAN2.pt; name one"):
            run(config, str(tmp_path / "W2"), mode)
    assert not (tmp_path / "W2/config.json").exists()


def test_load_reads_the_checkpoint_in_a_folder(folder, published_state, capsys):
    assert load(folder).streams == ("vggish", "resnet152", "r2plus1d")
    assert capsys.readouterr().err == f"{folder}: reading HAN.pt\n"
    (folder / "HAN.pt").unlink()
    for ending in ("audio", "video"):
        state = {n: torch.from_numpy(np.array(x)) for n, x in published_state("dhhn", 5).items()}
        torch.save(state, folder / f"X_{ending}.pt")
    load(folder)
    load(folder, method="dhhn")
    assert capsys.readouterr().err == f"{folder}: reading X\n" * 2
    with pytest.raises(UserError, match="several published checkpoints: X_audio.pt, X_video.pt"):
        load(folder, method="han")
