"""State dicts as trainings save them: under keys, beside other states, with words before names."""

import collections

import numpy as np
import pytest
import torch

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.interchange.torch_files import read_published
from avvp_jax.methods import METHODS
from avvp_jax.modes import run

ADAM = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))])
ADAM.param_groups[0]["params"][0].grad = torch.ones(3)
ADAM.step()
AVERAGED = {"n_averaged": torch.tensor(7)}


@pytest.fixture(scope="module")
def tensors(published_state) -> dict[str, torch.Tensor]:
    """HAN's state_dict."""
    return {name: torch.from_numpy(value) for name, value in published_state("han", 7).items()}


def under(prefix: str):
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


def beside(key: str, before=lambda state: state):
    """A state_dict under a key, beside what trainings keep."""
    more = {"optimizer": ADAM.state_dict(), "epoch": 3, "best": torch.tensor(0.5)}
    more |= {"metrics": {"loss": torch.tensor(0.1)}, "rng": torch.get_rng_state()}
    return lambda state: more | {key: collections.OrderedDict(before(state))}


# What trainings save, and what the line says that it is read without; nothing if it is published.
SAVED = {
    "as published": (lambda state: state, ""),
    "DataParallel": (under("module."), "'module.' in its names"),
    "torch.compile": (under("_orig_mod."), "'_orig_mod.' in its names"),
    "both": (under("_orig_mod.module."), "'_orig_mod.', 'module.' in"),
    "an attribute": (under("net."), "'net.' in its names"),
    "another attribute": (under("parser."), "'parser.' in its names"),
    "DataParallel of an attribute": (under("module.model."), "'module.', 'model.' in"),
    "an attribute that is DataParallel": (under("model.module."), "'module.', 'model.' in"),
    "an attribute of an attribute": (under("model.net."), "'model.', 'net.' in its names"),
    "a word twice": (under("model.model."), "'model.' in its names"),
    "three words": (under("lit.model.parser."), "'lit.', 'model.', 'parser.' in its names"),
    "a list": (lambda state: [state], "its wrapper '0'"),
    "a pair": (lambda state: (beside("model")(state), 3), "its wrapper '0.model'"),
    "beside an epoch": (lambda state: {"epoch": 3, **state}, ""),
    "one compiled module": (
        lambda state: {
            n.replace("hat_encoder.", "hat_encoder._orig_mod."): state[n] for n in state
        },
        "'_orig_mod.' in its names",
    ),
    "averaged": (lambda state: AVERAGED | under("module.")(state), "'module.' in its names"),
    "state_dict": (beside("state_dict"), "its wrapper 'state_dict'"),
    "model_state_dict": (beside("model_state_dict"), "its wrapper 'model_state_dict'"),
    "model": (beside("model"), "its wrapper 'model'"),
    "net": (beside("net"), "its wrapper 'net'"),
    "a key in a key": (
        lambda state: {"checkpoint": beside("model")(state)},
        "its wrapper 'checkpoint.model'",
    ),
    "Lightning": (
        beside("state_dict", under("model.")),
        "its wrapper 'state_dict', 'model.' in its names",
    ),
}


def words_of(said: str) -> list[str]:
    return [word for word in said.removesuffix(" in its names").replace(" in", "").split(", ")]


@pytest.mark.parametrize("how", SAVED)
def test_a_saved_state_dict_is_read_and_one_line_says_without_what(tmp_path, tensors, how, capsys):
    make, says = SAVED[how]
    torch.save(make(tensors), tmp_path / "x.pt")
    read = read_published(str(tmp_path / "x.pt")).state
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(read[name], value.numpy())
    load(tmp_path / "x.pt")
    line = capsys.readouterr().err
    assert line.count("\n") == bool(says)
    assert line.startswith(f"{tmp_path}/x.pt: read without " if says else "")
    for word in words_of(says):
        assert word in line


SEVERAL = {
    "averages beside it": (
        lambda s: {"model": s, "ema": under("module.")(s)},
        "several models: 'model', 'ema'; save",
    ),
    "two networks": (lambda s: {"net": s, "teacher": {"model": s}}, "'net', 'teacher.model'"),
    "names twice": (
        lambda s: s | {"module.fc_a.bias": s["fc_a.bias"]},
        "tensors twice: fc_a.bias, module.fc_a.bias",
    ),
}


@pytest.mark.parametrize("what", SEVERAL)
def test_several_models_in_a_file_are_named(tmp_path, tensors, what):
    make, says = SEVERAL[what]
    torch.save(make(tensors), tmp_path / "x.pt")
    with pytest.raises(UserError, match="x.pt: holds") as refusal:
        read_published(str(tmp_path / "x.pt"))
    assert says in str(refusal.value)


NO_MODEL = {
    "an optimizer": lambda s: {"optimizer": ADAM.state_dict()},
    "averages of moments": lambda s: {"optim": {"fc_a.weight": s["fc_a.weight"]}},
    "metrics": lambda s: {"metrics": {"loss": torch.tensor(0.1)}},
    "nothing": lambda s: {"state_dict": {}},
}


@pytest.mark.parametrize("what", NO_MODEL)
def test_a_file_without_a_model_is_refused(tmp_path, tensors, what):
    torch.save(NO_MODEL[what](tensors), tmp_path / "x.pt")
    with pytest.raises(UserError, match="x.pt: holds no state_dict"):
        read_published(str(tmp_path / "x.pt"))


def test_the_export_of_a_wrapped_file_is_as_published(config, tmp_path, tensors):
    config.model.width = config.model.feed_forward = 512
    torch.save(beside("model", under("module."))(tensors), tmp_path / "in.pt")
    config.init_from, config.export_to = str(tmp_path / "in.pt"), str(tmp_path / "out.pt")
    run(config, str(tmp_path / "W"), "export")
    exported = torch.load(tmp_path / "out.pt", weights_only=True)
    assert exported.keys() == tensors.keys()
    assert all(torch.equal(exported[name], tensors[name]) for name in tensors)


def test_training_states_stay_where_the_published_program_has_them(
    small_config, tmp_path, published_state, capsys
):
    """JoMoLD publishes them beside `model`; no line says that this is taken off."""
    config, state = small_config("jomold"), published_state("jomold", 7)
    config.model.update(METHODS["jomold"].layout.model)
    saved = beside("model")({name: torch.from_numpy(value) for name, value in state.items()})
    torch.save(saved, tmp_path / "in.pt")
    config.init_from, config.export_to = str(tmp_path / "in.pt"), str(tmp_path / "out.pt")
    run(config, str(tmp_path / "W"), "export")
    assert capsys.readouterr().err == ""
    exported = torch.load(tmp_path / "out.pt", weights_only=True)
    assert exported.keys() == saved.keys()
    assert exported["optimizer"]["param_groups"] == saved["optimizer"]["param_groups"]
    assert all(torch.equal(exported["model"][name], saved["model"][name]) for name in state)
