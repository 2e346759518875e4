"""TorchScript's archives and checkpoints: their tensors, and what must not get in."""

import pickle
import re
import zipfile

import numpy as np
import pytest

from tests.encoders import weight_files as made

FOUR = made.storage("0", "FloatStorage", 4)
WHOLE = made.tensor(FOUR, 0, (4,), (1,))
STOP = b"\x80\x02%b."


def small_clip(torch):
    """A module with the kinds of attributes that CLIP has."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = torch.nn.MultiheadAttention(8, 2)
            self.ln_1 = torch.nn.LayerNorm(8)

        def forward(self, x):
            return self.ln_1(x + self.attn(x, x, x, need_weights=False)[0])

    class Clip(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Flatten(2))
            self.resblocks = torch.nn.Sequential(Block(), Block())
            self.proj = torch.nn.Parameter(torch.randn(8, 4).half())
            self.register_buffer("context_length", torch.tensor(77))
            self.names, self.table, self.none, self.rate = ["a"], {"a": 1}, None, 0.5

        def forward(self, x):
            return self.resblocks(self.visual(x).permute(2, 0, 1)).mean(0) @ self.proj.float()

    return Clip().eval()


@pytest.mark.parametrize("by", ["script", "trace"])
@pytest.mark.filterwarnings("ignore")  # of TorchScript, which is deprecated
def test_a_torchscript_archive_is_read_as_its_state_dict(tmp_path, by):
    torch = pytest.importorskip("torch")
    module = small_clip(torch)
    whole = (
        torch.jit.script(module)
        if by == "script"
        else torch.jit.trace(module, torch.zeros(1, 3, 8, 8))
    )
    torch.jit.save(whole, tmp_path / "y.pt")
    with zipfile.ZipFile(tmp_path / "y.pt") as archive:
        # Its code is compressed, and not looked at.
        assert any(member.compress_type for member in archive.infolist())
    found, state = made.read(tmp_path, (tmp_path / "y.pt").read_bytes()), module.state_dict()
    assert found.keys() == state.keys() and "resblocks.1.attn.in_proj_weight" in found
    for name, value in state.items():
        assert found[name].dtype == value.numpy().dtype
        np.testing.assert_array_equal(found[name], value.numpy())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_checkpoint_is_read_as_its_state_dict(tmp_path, protocol, zipped):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    checkpoint = {
        "epoch": 3,
        "name": "x",
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "best": [np.float64(0.5), np.float32(1), np.int64(2), np.arange(3.0), np.str_("x")],
        "set": {1, "a"},
    }
    torch.save(
        checkpoint,
        tmp_path / "y.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    found = made.read(tmp_path, (tmp_path / "y.pt").read_bytes())
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.numpy())


def checkpoint(form: str, count: int = 1000, stored: int = 1000) -> bytes:
    """A checkpoint of four numbers, whose optimizer has a storage of others."""
    rest = made.tensor(made.storage("1", "FloatStorage", count), 0, (count,), (1,))
    items = made.text("state_dict") + b"}" + made.text("x") + WHOLE + b"s"
    pickled = STOP % (b"}(" + items + made.text("optimizer") + b"]" + rest + b"au")
    parts = {"0": np.arange(4, dtype="f4").tobytes(), "1": np.ones(stored, "f4").tobytes()}
    if form == "zip":
        return made.zipped(pickled, parts)
    return made.legacy(pickled, parts, {"0": 4, "1": stored})


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_an_optimizer_is_not_read_but_its_size_is_checked(tmp_path, form):
    whole = bytearray(checkpoint(form))
    whole[whole.index(np.ones(9, "f4").tobytes())] ^= 1  # against the checksum of what is read
    np.testing.assert_array_equal(made.read(tmp_path, bytes(whole))["x"], np.arange(4))
    said = made.refused(tmp_path, checkpoint(form, 10**12))
    assert re.search("does not hold the 4000000000000 bytes|ends early", said)
    assert re.search("does not hold|another number", made.refused(tmp_path, checkpoint(form, 999)))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_module_without_pytorch(tmp_path, form):
    inner = made.module({"weight": WHOLE, "training": b"\x88", "n": b"K\x07"}, "__torch__\nA")
    tagged = b"ctorch.jit._pickle\nrestore_type_tag\n]" + made.text("List[str]") + b"\x86R"
    outer = made.module(
        {"a": inner, "b": WHOLE, "none": b"N", "l": tagged, "empty": made.module({})}
    )
    found = made.read(tmp_path, made.hostile(STOP % outer)[form])
    assert found.keys() == {"a.weight", "b"}
    np.testing.assert_array_equal(found["a.weight"], np.arange(4))


def test_a_module_that_stands_twice_has_two_names(tmp_path):
    inner = made.module({"w": WHOLE}) + b"q\x01"
    found = made.read(
        tmp_path, made.hostile(STOP % made.module({"a": inner, "b": b"h\x01"}))["zip"]
    )
    assert found.keys() == {"a.w", "b.w"}


def doubling(times: int) -> bytes:
    """Modules that each hold the one before twice."""
    pickled = made.module({"w": WHOLE}) + b"q\x00"
    for number in range(times):
        again = b"h" + bytes([number])
        pickled += made.module({"a": again, "b": again}) + b"q" + bytes([number + 1])
    return STOP % (b"(" + pickled + b"t" + b"h" + bytes([times]))


def nested(times: int) -> bytes:
    pickled = WHOLE
    for _ in range(times):
        pickled = made.module({"a": pickled})
    return STOP % pickled


TUPLES = b")" + b"\x85" * 10**6
HOSTILE = {
    "a name in a module": (
        STOP % made.module({"a": b"cposix\nsystem\n" + made.text("echo") + b"\x85R"}),
        "names posix.system",
    ),
    "a name like a module's": (STOP % made.module({}, "__torch__x\nA"), "names __torch__x.A"),
    "a name near a module's": (STOP % made.module({}, "torch\nA"), "names torch.A"),
    "another function of NumPy": (STOP % b"cnumpy.core.multiarray\nfromfile\n", "names numpy.core"),
    "another function of torch.jit": (STOP % b"ctorch.jit._pickle\nos\n", "names torch.jit"),
    "another codec": (STOP % b"c_codecs\nlookup\n", "names _codecs.lookup"),
    "eval": (STOP % b"c__builtin__\neval\n", "names __builtin__.eval"),
    "posix in a state": (
        STOP % (b"c__torch__\nA\n)\x81cposix\nsystem\nb"),
        "names posix.system",
    ),
    "a class that is changed": (
        STOP % (b"c__torch__\nA\n}" + made.text("__setstate__") + WHOLE + b"sb"),
        "not a readable",
    ),
    "a module with arguments": (STOP % b"c__torch__\nA\nK\x01\x85\x81", "has arguments"),
    "a module that is called": (STOP % (made.module({"x": WHOLE}) + b")R"), "not callable"),
    "a tensor that is called": (STOP % (WHOLE + b")R"), "not callable"),
    "a tensor that is made": (STOP % (WHOLE + b")\x81"), "must be a type"),
    "a module as a dict": (STOP % (made.module({"x": WHOLE}) + b"K\x01K\x02s"), "not a readable"),
    "a module as a list": (STOP % (made.module({"x": WHOLE}) + b"K\x01a"), "not a readable"),
    "keyword arguments": (STOP % b"c__torch__\nA\n)}\x92", "uses NEWOBJ_EX"),
    "no tensors": (STOP % made.module({"x": b"N"}), "without tensors"),
    "a module with another state": (STOP % b"c__torch__\nA\n)\x81K\x01b", "without tensors"),
    "a module in itself": (
        STOP % (b"c__torch__\nA\n)\x81q\x01}" + made.text("x") + b"h\x01sb"),
        "contains itself: x",
    ),
    "a module in its own": (
        STOP
        % (
            b"c__torch__\nA\n)\x81q\x01}"
            + made.text("x")
            + made.module({"y": b"h\x01"})
            + b"sb"
        ),
        "contains itself: x.y",
    ),
    "a dict in itself": (STOP % (b"}q\x01" + made.text("x") + b"h\x01s"), "no state_dict"),
    "a list in itself": (STOP % b"]q\x01h\x01a", "no state_dict"),
    "a state_dict in itself": (
        STOP % (b"}q\x01" + made.text("state_dict") + b"h\x01s"),
        "no tensors: state_dict",
    ),
    "nested modules": (nested(80), "nests its values too deeply"),
    "modules that multiply": (doubling(45), "more modules"),
    "a long name": (STOP % made.module({"x" * 10**5: WHOLE}), "more modules"),
    "nested tuples": (STOP % TUPLES, "nests its values too deeply"),
    "nested tuples as a key": (STOP % (b"}" + TUPLES + b"Ns"), "nests its values too deeply"),
    "a tuple as a key": (STOP % b"}K\x01\x85Ns", "neither numbers nor texts"),
    "tuples as keys": (STOP % b"}(K\x01K\x02)\x85Nu", "neither numbers nor texts"),
    "a tuple in a set": (b"\x80\x04\x8f(K\x01)\x85\x90.", "neither numbers nor texts"),
    "nested lists": (STOP % (b"]" * 10**5 + b"a" * (10**5 - 1)), "nests its values too deeply"),
    "a list as a key": (STOP % b"}]Ns", "unhashable"),
    "nothing to take": (STOP % b"\x85", "takes what is not there"),
    "a mark to take": (STOP % b"((\x85", "takes what is not there"),
    "an unknown memo": (STOP % b"h\x05", "takes what is not there"),
    "a path twice": (
        STOP % made.module({"a.x": WHOLE, "a": made.module({"x": WHOLE})}),
        "has a.x twice",
    ),
    "a name twice": (
        STOP
        % (b"ccollections\nOrderedDict\n)R(" + (made.text("x") + WHOLE) * 2 + b"u"),
        "has x twice",
    ),
    "a tensor of a module beyond": (
        STOP % made.module({"x": made.tensor(FOUR, 1, (4,), (1,))}),
        "beyond its storage",
    ),
    "a storage of a module beyond": (
        STOP
        % made.module({"x": made.tensor(made.storage("0", "FloatStorage", 9), 0, (9,), (1,))}),
        "(does not hold|ends early)",
    ),
    "no tensor in a state_dict": (
        STOP % (b"}" + made.text("state_dict") + b"}" + made.text("x") + b"K\x01ss"),
        "no tensors: x",
    ),
    "an empty state_dict": (STOP % (b"}" + made.text("state_dict") + b"}s"), "no state_dict"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_module_or_checkpoint_is_refused(tmp_path, name, form):
    pickled, says = HOSTILE[name]
    said = made.refused(tmp_path, made.hostile(pickled)[form])
    assert re.search(says, said), said


def test_reduce_and_setstate_of_python_objects_are_refused(tmp_path):
    class Reducing:
        def __reduce__(self):
            return (print, ("ran",))

    class Stateful:
        def __reduce__(self):
            return (np.dtype, ("f4",), (print, "ran"))

    for protocol in (2, 4):
        found = pickle.dumps({"state_dict": {}, "x": Reducing()}, protocol)
        assert "print" in made.refused(tmp_path, made.hostile(found)["zip"])
        found = pickle.dumps({"state_dict": {}, "x": Stateful()}, protocol)
        assert "print" in made.refused(tmp_path, made.hostile(found)["zip"])


def test_a_member_that_is_needed_must_be_stored(tmp_path):
    pickled = STOP % made.module({"x": WHOLE})
    for compressed in ("data.pkl", "data/0", "code/a.py"):
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            for name, content in (
                ("data.pkl", pickled),
                ("data/0", bytes(16)),
                ("code/a.py", b"import os; os.abort()" * 100),
            ):
                kind = zipfile.ZIP_DEFLATED if name == compressed else zipfile.ZIP_STORED
                archive.writestr(f"a/{name}", content, kind)
        content = (tmp_path / "z").read_bytes()
        if compressed == "code/a.py":
            assert made.read(tmp_path, content).keys() == {"x"}
        else:
            assert f"{compressed} in it is compressed" in made.refused(tmp_path, content)
