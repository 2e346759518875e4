"""Files of tensors in both of PyTorch's formats, and what must not get in."""

import os
import pickle
import re
import zipfile

import numpy as np
import pytest

from avvp_jax.encoders.torch_files import read_tensors
from avvp_jax.errors import UserError
from tests.encoders import weight_files as made

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv1.weight": RNG.standard_normal((4, 3, 2, 2)).astype("f4"),
    "bn1.weight": np.arange(4, dtype="f4"),
    "bn1.running_var": np.arange(4, dtype="f2"),
    "bn1.num_batches_tracked": np.array(7, "i8"),
    "wide": np.arange(3, dtype="f8"),
}


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_arrays_are_read_bit_for_bit(tmp_path, form):
    found = made.read(tmp_path, made.file_of(ARRAYS, form))
    assert found.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorch_writes_is_read(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    whole = torch.arange(12.0).reshape(3, 4)
    state = module.state_dict() | {"view": whole.t()[1:], "other": whole[:2, 1:]}
    state |= {"half": torch.ones(2, dtype=torch.bfloat16), "none": torch.empty(0, 3)}
    state |= {"parameter": torch.nn.Parameter(torch.ones(3)), "long": torch.tensor(3)}
    torch.save(state, tmp_path / "y.pth", _use_new_zipfile_serialization=zipped)
    found = read_tensors(str(tmp_path / "y.pth"), "")
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name].astype("f4"), value.detach().float().numpy())


FOUR = made.storage("0", "FloatStorage", 4)
WHOLE = made.tensor(FOUR, 0, (4,), (1,))
HUGE = 2**61
PICKLES = {
    "os.system": (b"\x80\x02cos\nsystem\n" + made.text("echo") + b"\x85R.", "names os.system"),
    "builtins": (b"\x80\x02cbuiltins\neval\n(X\x01\0\0\x001tR.", "names builtins.eval"),
    "unicode name": (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "names os.system"),
    "torch's loader": (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "names torch.storage"),
    "within a name": (b"\x80\x04\x8c\x0bcollections\x8c\x08abc.Path\x93.", "collections.abc.Path"),
    "numpy": (b"\x80\x02cnumpy\nload\n.", "names numpy.load"),
    "an object": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "must be a type"),
    "an extension": (b"\x80\x02\x82\x01.", "uses EXT1"),
    "a far memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "claims more memory"),
    "a changed function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + made.text("x") + b"K\x01sb.",
        "changes what it has built",
    ),
    "a changed function's slots": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}" + made.text("__call__") + b"K\x01stb.",
        "changes what it has built",
    ),
    "a changed tensor": (
        made.state({"x": WHOLE + b"}" + made.text("offset") + b"K\x63sb"}),
        "changes what it has built",
    ),
    "an offset beyond": (made.state({"x": made.tensor(FOUR, 1, (4,), (1,))}), "beyond its storage"),
    "a stride beyond": (made.state({"x": made.tensor(FOUR, 0, (2,), (4,))}), "beyond its storage"),
    "a size beyond": (made.state({"x": made.tensor(FOUR, 0, (5,), (1,))}), "beyond its storage"),
    "a stride of 0": (
        made.state({"x": made.tensor(FOUR, 0, (HUGE,), (0,))}),
        "beyond its storage",
    ),
    "a negative offset": (made.state({"x": made.tensor(FOUR, -1, (1,), (1,))}), "no sizes"),
    "a negative stride": (made.state({"x": made.tensor(FOUR, 3, (4,), (-1,))}), "no sizes"),
    "huge sizes": (
        made.state({"x": made.tensor(FOUR, 0, (2**63,), (1,))}),
        "no sizes",
    ),
    "sizes without strides": (
        made.state({"x": made.tensor(FOUR, 0, (2, 2), (1,))}),
        "do not belong together",
    ),
    "too many axes": (
        made.state({"x": made.tensor(FOUR, 0, (1,) * 70, (1,) * 70)}),
        "do not belong together",
    ),
    "no storage": (made.state({"x": made.tensor(b"N", 0, (4,), (1,))}), "has no storage"),
    "a text as id": (b"\x80\x02" + made.text("0") + b"Q.", "no storage"),
    "a module as id": (b"\x80\x02(" + made.text("module") * 5 + b"tQ.", "no storage"),
    "an id without type": (
        b"\x80\x02(" + made.text("storage") + b"N" + made.text("0") * 2 + b"K\x04tQ.",
        "no type or no name",
    ),
    "a storage that is larger": (
        made.state({"x": made.tensor(made.storage("0", "FloatStorage", 5), 0, (4,), (1,))}),
        "(does not hold|ends early)",
    ),
    "a storage of another kind": (
        made.state({"x": made.tensor(made.storage("0", "DoubleStorage", 4), 0, (4,), (1,))}),
        "(does not hold|ends early)",
    ),
    "a quantised storage": (
        made.state({"x": made.tensor(made.storage("0", "QInt8Storage", 4), 0, (4,), (1,))}),
        "names torch.QInt8Storage",
    ),
    "a storage that is elsewhere": (
        made.state({"x": made.tensor(made.storage("../1", "FloatStorage", 4), 0, (4,), (1,))}),
        "(does not hold|other storages)",
    ),
    "two kinds of one storage": (
        made.state(
            {
                "x": WHOLE,
                "y": made.tensor(made.storage("0", "IntStorage", 4), 0, (4,), (1,)),
            }
        ),
        "says two things",
    ),
    "a number": (b"\x80\x02K\x07.", "no state_dict"),
    "a name that is a number": (b"\x80\x02}K\x01K\x02s.", "no state_dict"),
    "a value that is no tensor": (made.state({"x": b"K\x01"}), "no tensors: x"),
    "nothing": (made.state({}), "no state_dict"),
    "half a pickle": (made.state({"x": WHOLE})[:-20], "not a readable"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", PICKLES)
def test_a_hostile_pickle_is_refused(tmp_path, name, form):
    pickled, says = PICKLES[name]
    said = made.refused(tmp_path, made.hostile(pickled)[form])
    if form == "legacy" and name in ("half a pickle", "an id without type"):
        return  # what follows a pickle is read as its rest
    assert re.search(says, said), said


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, form, share):
    whole = made.file_of(ARRAYS, form)
    made.refused(tmp_path, whole[: int(len(whole) * share)])


def test_compressed_and_doubled_members_are_refused(tmp_path):
    value = np.zeros(10_000, "f4")
    pickled = made.state({"x": made.entry("0", value)})
    bomb = made.zipped(pickled, {"0": value.tobytes()}, compression=zipfile.ZIP_DEFLATED)
    assert "is compressed" in made.refused(tmp_path, bomb)
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            archive.writestr("a/data.pkl", pickled)
            archive.writestr("a/data.pkl", pickled)
    assert "members twice" in made.refused(tmp_path, (tmp_path / "z").read_bytes())


def test_a_changed_byte_in_a_zip_is_refused(tmp_path):
    whole = bytearray(made.file_of({"x": np.ones(1000, "f4")}, "zip"))
    whole[2000] ^= 1
    assert "CRC" in made.refused(tmp_path, bytes(whole))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", r"a web page \(Sign in\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        (pickle.dumps(3), "is no PyTorch file"),
        (b"PK\3\4" + bytes(100), "not a readable PyTorch file"),
    ],
)
def test_other_files_are_named(tmp_path, content, says):
    assert re.search(says, made.refused(tmp_path, content))


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("no.pth", "cannot be read"), ("", "is a folder"), ("pipe", "not a file")):
        with pytest.raises(UserError, match=says):
            read_tensors(str(tmp_path / name), "x")
