"""Files of tensors in the format safetensors, and what is damaged or lies in them."""

import json
import os
import re
import struct
import sys

import ml_dtypes
import numpy as np
import pytest

from avvp_jax.encoders.safetensors_files import read_safetensors
from avvp_jax.errors import UserError
from tests.encoders.weight_files import safetensors, safetensors_of

ARRAYS = {
    "b.weight": np.arange(12, dtype="f4").reshape(3, 4),
    "a.half": np.arange(4, dtype="f2"),
    "a.brain": np.arange(3).astype(ml_dtypes.bfloat16),
    "position_ids": np.arange(7)[None],
    "logit_scale": np.array(2.5, "f4"),
    "none": np.zeros((0, 3), "f4"),
}


@pytest.fixture
def refused(tmp_path):
    """What is said of a file that is refused."""

    def refused(content: bytes) -> str:
        path = tmp_path / "m.safetensors"
        path.write_bytes(content)
        with pytest.raises(UserError) as told:
            read_safetensors(str(path), "download it again")
        said = str(told.value)
        assert "\n" not in said and said.startswith(f"{path}: ") and len(said) < 600
        assert said.endswith("; download it again")
        return said

    return refused


def test_arrays_are_read_bit_for_bit(tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "x").write_bytes(safetensors_of(ARRAYS))
    found = read_safetensors(str(tmp_path / "x"), "")
    assert found.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


def test_what_the_library_writes_is_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {name: value for name, value in ARRAYS.items() if name != "a.brain"}
    library.save_file(arrays, tmp_path / "x", metadata={"format": "pt"})
    found = read_safetensors(str(tmp_path / "x"), "")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)


def of(shape=(2,), start=0, end=8, dtype="F32") -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def made(numbers: int, **tensors) -> bytes:
    return safetensors(json.dumps(tensors).encode(), bytes(numbers))


ONE = json.dumps({"x": of()})
WHOLE = safetensors_of(ARRAYS)
LIES = {
    "overlap": (made(12, x=of(), y=of((2,), 4, 12)), "(?i)invalid ?offset"),
    "the same place": (made(8, x=of(), y=of()), "(?i)invalid ?offset"),
    "a hole": (made(20, x=of(), y=of((2,), 12, 20)), "(?i)invalid ?offset"),
    "a hole before": (made(12, x=of((2,), 4, 12)), "(?i)invalid ?offset"),
    "more numbers": (made(12, x=of()), "(?i)incomplete"),
    "fewer numbers": (made(4, x=of()), "ends 4 bytes early"),
    "a place far away": (made(8, x=of((2,), 2**60, 2**60 + 8)), "bytes early"),
    "a shape too large": (made(8, x=of((3,))), "(?i)invalid shape|TensorInvalidInfo"),
    "another dtype": (made(8, x=of(dtype="F64")), "(?i)invalid shape|TensorInvalidInfo"),
    "a huge shape": (made(8, x=of((2**61, 2**61))), "(?i)overflow"),
    "huger numbers": (made(8, x=of((2**70,))), "which no array has"),
    "a negative shape": (made(8, x=of((-2,))), "which no array has"),
    "a broken number": (made(8, x=of((2.5,))), "which no array has"),
    "a truth as a shape": (made(8, x=of((True, 2))), "which no array has"),
    "many axes": (made(4, x=of((1,) * 70, 0, 4)), "which no array has"),
    "a place that ends first": (made(8, x=of((2,), 8, 0)), "which is no place"),
    "a negative place": (made(8, x=of((2,), -8, 0)), "which is no place"),
    "an unknown dtype": (made(8, x=of(dtype="F33")), "has x as F33, which is not read"),
    "an eight-bit float": (made(2, x=of((2,), 0, 2, "F8_E4M3")), "has x as F8_E4M3"),
    "no dtype": (made(8, x={"shape": [2], "data_offsets": [0, 8]}), "has x as None"),
    "a list as a dtype": (made(8, x=of(dtype=["F32"])), "has x as "),
    "a tensor that is a list": (made(8, x=[1]), "has x as None"),
    "a key twice": (safetensors(f"{ONE[:-1]},{ONE[1:]}".encode(), bytes(8)), "has x twice"),
    "an inner key twice": (
        safetensors(ONE.replace('"shape"', '"dtype": "F32", "shape"').encode(), bytes(8)),
        "has dtype twice",
    ),
    "no tensors": (made(0), "holds no tensors"),
    "metadata alone": (made(0, __metadata__={"format": "pt"}), "holds no tensors"),
    "a list": (safetensors(b"[]", b""), "header without names"),
    "no JSON": (safetensors(b"{x}", b""), "header that is no JSON"),
    "no text": (safetensors(b'{"\xff": 1}', b""), "header that is no JSON"),
    "nesting": (safetensors(b"[" * 10**6, b""), "header that is no JSON"),
    "an empty header": (safetensors(b"", b""), "header that is no JSON"),
    "a header beyond": (struct.pack("<Q", 1000) + ONE.encode(), "ends within its header of 1000"),
    "a header far beyond": (struct.pack("<Q", 2**63) + ONE.encode(), "header would have"),
    "half a length": (b"\x07\0\0", "too short"),
    "cut in the header": (WHOLE[:100], "ends within its header"),
    "cut in the numbers": (WHOLE[:-3], "ends 3 bytes early"),
    "nothing": (b"", "is empty"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        "Git LFS pointer",
    ),
    "a page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "a web page .Sign in"),
    "a zip": (b"PK\3\4" + bytes(99), "no safetensors file|header that is no JSON|its header"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_and_damage_are_refused(name, refused):
    pytest.importorskip("safetensors")
    content, says = LIES[name]
    said = refused(content)
    assert re.search(says, said), said


@pytest.mark.parametrize("at", range(0, len(WHOLE), 7))
def test_a_changed_byte_ends_in_one_line_or_in_other_numbers(tmp_path, at):
    pytest.importorskip("safetensors")
    content = bytearray(WHOLE)
    content[at] ^= 0x11
    (tmp_path / "x").write_bytes(bytes(content))
    try:
        found = read_safetensors(str(tmp_path / "x"), "")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(found) == len(ARRAYS)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    pytest.importorskip("safetensors")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("no", "cannot be read"), ("", "is a folder"), ("pipe", "not a file")):
        with pytest.raises(UserError, match=says):
            read_safetensors(str(tmp_path / name), "x")


def test_a_missing_library_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match="pip install"):
        read_safetensors(str(tmp_path / "x"), "x")
