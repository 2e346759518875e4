"""Published checkpoints in and out, and files that must not get in."""

import collections
import dataclasses
import random

import jax
import numpy as np
import pytest
import torch

from avvp_jax.api import load
from avvp_jax.errors import UserError
from avvp_jax.interchange.state_dicts import from_published, recognise, to_published
from avvp_jax.interchange.torch_files import PublishedFile, read_published, write_published
from avvp_jax.methods import METHODS
from tests.fixtures import golden_shapes

HAN = METHODS["han"].layout
LAYOUTS = [method.layout for method in METHODS.values()]
SHAPES = golden_shapes()
# DHHN's golden file is that of one part.
GOLDEN = [method for method in METHODS if {method, f"{method}_hcmn"} & set(SHAPES)]


def save(path, state: dict) -> str:
    torch.save({name: torch.from_numpy(np.array(value)) for name, value in state.items()}, path)
    return str(path)


@pytest.fixture
def state(published_state):
    return published_state("han", 7)


@pytest.fixture(scope="module")
def template():
    return HAN.file_network().shapes()


@pytest.mark.parametrize("method", GOLDEN)
def test_import_then_export_returns_every_tensor_bit_for_bit(tmp_path, published_state, method):
    layout, state = METHODS[method].layout, published_state(method, 7)
    template = layout.file_network().shapes()
    path = save(tmp_path / "in.pt", state)
    variables, unused = from_published(read_published(path).state, template, layout, path)
    exported = PublishedFile(to_published(variables, layout, unused))
    write_published({str(tmp_path / "out.pt"): exported})
    exported = torch.load(tmp_path / "out.pt", weights_only=True)
    assert exported.keys() == state.keys()
    for name, value in state.items():
        assert exported[name].numpy().dtype == value.dtype
        np.testing.assert_array_equal(exported[name].numpy(), value)


def test_an_export_of_our_own_weights_loads_with_strict_true(tmp_path, state):
    """Modules that the published program never calls are filled in, plausibly and reproducibly."""
    import jax

    variables = jax.device_get(HAN.file_network().init(jax.random.key(0)))
    path = str(tmp_path / "own.pt")
    write_published({path: PublishedFile(to_published(variables, HAN, {}, seed=3))})
    program = modules_of(state)
    program.load_state_dict(torch.load(path, weights_only=True), strict=True)
    filled = read_published(path).state
    assert abs(np.std(filled["cmt_encoder.layers.0.linear1.weight"]) * (3 * 512) ** 0.5 - 1) < 0.01
    assert (filled["hat_encoder.norm1.weight"] == 1).all()
    again = to_published(variables, HAN, {}, seed=3)
    for name in HAN.unused({"fc_prob.weight": (25, 512)}):
        np.testing.assert_array_equal(filled[name], again[name])


def modules_of(state: dict) -> torch.nn.Module:
    """Nested modules whose parameters have exactly the names and shapes of a state_dict."""
    root = torch.nn.Module()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        module = root
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, torch.nn.Module())
            module = module._modules[parent]
        module.register_parameter(leaf, torch.nn.Parameter(torch.zeros(value.shape)))
    return root


@pytest.mark.parametrize("method", GOLDEN)
def test_a_published_file_is_recognised_by_its_tensors(published_state, method):
    assert recognise(published_state(method, 1), "x.pt", LAYOUTS).method == method


UNLOADABLE = [
    ({"model": {"width": "x"}}, "config.model.width='x' must be"),
    ({"model": {"width": -16}}, "config.model.width=-16 must be"),
    ({"model": {"layers": 10**6}}, "config.model.layers=1000000 must be"),
    ({"model": {"order": ["parallel"]}}, "config.model.order=.* must be one of"),
    ({"model": {"heads": 3}}, "must be a multiple of config.model.heads=3"),
    ({"model": {1: 2, "depth": 3}}, "model has no 1, depth; known: width"),
    ({"model": ["width"]}, "model must be a dict"),
    ({"method": ["han"]}, "is unknown; known: han"),
    ({"seed": "x"}, "config.pick_seed='x' must be"),
    ({"seed": None}, "config.pick_seed=None must be"),
    ({"path": "s3://bucket/x.pt"}, "s3://bucket/x.pt: must be a path on this machine or gs://"),
    ({"path": "foo://bucket"}, "foo://bucket: must be a path on this machine or gs://"),
    ({"path": "gs://"}, "gs://: must be a path on this machine or gs://BUCKET"),
]


@pytest.mark.parametrize(("given", "says"), UNLOADABLE, ids=str)
def test_what_load_cannot_use_is_refused(tmp_path, given, says):
    with pytest.raises(UserError, match=says):
        load(**{"path": tmp_path / "x.pt", "method": "valor"} | given)


def test_a_file_of_no_method_is_refused(state):
    with pytest.raises(UserError, match="x.pt: not the published checkpoint of a known method"):
        recognise({"fc_prob.weight": state["fc_prob.weight"]}, "x.pt", LAYOUTS)


@pytest.mark.parametrize(("method", "width"), [("han", 128), ("valor", 256), ("dhhn", 16)])
def test_a_file_of_other_shapes_is_refused_with_the_tensors_and_shapes(tmp_path, method, width):
    layout = METHODS[method].layout
    model = layout.model | {"width": width, "feed_forward": 24}
    shapes = dataclasses.replace(layout, model=model).file_network().shapes()
    template = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    path = save(tmp_path / "x.pt", to_published(template, layout, {}))
    with pytest.raises(UserError, match=f"x.pt: has the tensors of the published {method}") as told:
        load(path)
    said = f"fc_prob.weight is (25, {width}), the network needs (25, 512)"
    assert said in str(told.value) or f"is ({width}," in str(told.value)
    assert "give load its method" in str(told.value)


def test_a_file_of_other_names_is_refused_with_the_nearest_method(tmp_path, published_state):
    ma = published_state("ma", 7)
    del ma["fc_a.bias"]
    dhhn = published_state("dhhn", 7) | {"extra.weight": np.zeros(3, np.float32)}
    plus = {n.replace("fc_av_att", "fc_av"): x for n, x in published_state("valor", 7).items()}
    for state, says in (
        (ma, "of ma, the nearest, it lacks fc_a.bias;"),
        (dhhn, "of dhhn, the nearest, it has unknown extra.weight;"),
        (plus, "lacks fc_av_att.bias, fc_av_att.weight and has unknown fc_av.bias, fc_av.weight"),
    ):
        path = save(tmp_path / "x.pt", state)
        with pytest.raises(UserError, match="x.pt: not the published checkpoint of a") as told:
            load(path)
        assert says in str(told.value)


def test_a_wrapper_with_random_states_is_read(tmp_path, state):
    """JoMoLD's file: the state_dict under `model`, beside optimizer and random states."""
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    parameter = torch.nn.Parameter(torch.zeros(3))
    wrapped = {
        "model": collections.OrderedDict(tensors),
        "optimizer": torch.optim.Adam([parameter]).state_dict(),
        "epochs": 25,
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": [torch.get_rng_state()],
        "random_rng": random.getstate(),
        "numpy_rng": np.random.get_state(),
    }
    torch.save(wrapped, tmp_path / "wrapped.pt")
    file = read_published(str(tmp_path / "wrapped.pt"))
    read = file.state
    assert read.keys() == state.keys()
    np.testing.assert_array_equal(read["fc_a.weight"], state["fc_a.weight"])
    # Written again, it holds all that it held.
    write_published({str(tmp_path / "again.pt"): file})
    again = read_published(str(tmp_path / "again.pt"))
    assert again.rest.keys() == wrapped.keys() - {"model"}
    assert again.rest["epochs"] == 25
    assert again.rest["random_rng"] == wrapped["random_rng"]
    np.testing.assert_array_equal(again.rest["numpy_rng"][1], wrapped["numpy_rng"][1])
    assert torch.equal(again.rest["torch_rng"], wrapped["torch_rng"])


def test_a_missing_class_of_many_is_named(published_state):
    """What is one array here has a tensor for each class there."""
    layout, state = METHODS["mm_cse"].layout, published_state("mm_cse", 7)
    template = layout.file_network().shapes()
    del state["fc_prob.fc.24.bias"]
    state["a_unmix.26.1.bias"] = np.zeros(128, np.float32)
    says = r"x\.pt.*lacks fc_prob\.fc\.24\.bias and has unknown a_unmix\.26\.1\.bias"
    with pytest.raises(UserError, match=says):
        from_published(state, template, layout, "x.pt")
    state = published_state("mm_cse", 7)
    state["v_unmix.3.4.weight"] = state["v_unmix.3.4.weight"][:, :100]
    with pytest.raises(
        UserError, match=r"v_unmix\.3\.4\.weight is \(128, 100\).*needs \(128, 128\)"
    ):
        from_published(state, template, layout, "x.pt")


def test_names_that_do_not_fit_are_listed(state, template):
    del state["fc_a.bias"]
    state["fc_b.bias"] = np.zeros(3, np.float32)
    with pytest.raises(UserError, match=r"x\.pt.*lacks fc_a\.bias.*unknown fc_b\.bias"):
        from_published(state, template, HAN, "x.pt")


def test_shapes_that_do_not_fit_are_listed(state, template):
    state["fc_a.weight"] = state["fc_a.weight"][:, :100]
    with pytest.raises(UserError, match=r"fc_a\.weight is \(512, 100\).*needs \(512, 128\)"):
        from_published(state, template, HAN, "x.pt")


def test_without_pytorch_it_is_asked_for_by_name(monkeypatch, tmp_path, state):
    import builtins

    path = save(tmp_path / "x.pt", state)
    real = builtins.__import__

    def without_torch(name, *args, **kwargs):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(UserError, match="pip install torch"):
        read_published(path)


def test_several_files_are_written_all_or_none(tmp_path, state):
    """A pair of which one half is new would be read without a word."""
    first, second = str(tmp_path / "x_audio.pt"), str(tmp_path / "x_video.pt")
    write_published({first: PublishedFile(state)})
    before = (tmp_path / "x_audio.pt").read_bytes()
    (tmp_path / "x_video.pt").mkdir()
    changed = PublishedFile(state | {"fc_a.bias": state["fc_a.bias"] + 1})
    with pytest.raises(UserError, match="x_video.pt: cannot be written: a folder is in the way"):
        write_published({first: changed, second: changed})
    assert (tmp_path / "x_audio.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x_audio.pt", "x_video.pt"]


def test_weights_of_a_pre_norm_valor_are_remarked_on(published_state, capsys):
    """Post-norm VALOR holds the norms after the last layer too, but as they start."""
    layout, state = METHODS["valor"].layout, published_state("valor", 1)
    norms = [name for name in state if "final_norm" in name]
    started = state | {n: np.full(512, float(n.endswith("weight")), np.float32) for n in norms}
    template = layout.file_network().shapes()
    from_published(started, template, layout, "x.pt")
    assert capsys.readouterr().err == ""
    from_published(state, template, layout, "x.pt")
    assert "set config.model.norm=pre" in capsys.readouterr().err
