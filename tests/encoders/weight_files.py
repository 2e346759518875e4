"""Writes files in both of PyTorch's formats, by hand and without PyTorch, and reads them."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest

from avvp_jax.encoders.torch_files import read_tensors
from avvp_jax.errors import UserError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def integers(values) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key: str, kind: str, count: int) -> bytes:
    """A reference to a storage: the opcodes of its persistent id."""
    return (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    ) + integer(count) + b"tQ"  # fmt: skip


def tensor(of: bytes, offset, shape, strides) -> bytes:
    """A call of torch's _rebuild_tensor_v2."""
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = of + integer(offset) + integers(shape) + integers(strides) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(entries: Mapping[str, bytes]) -> bytes:
    """The pickle of an OrderedDict with _metadata, whose values are opcodes."""
    items = b"".join(text(name) + value for name, value in entries.items())
    metadata = b"}" + text("_metadata") + b"}s"
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u" + metadata + b"b."


def module(attributes: Mapping[str, bytes], name: str = "__torch__.net\nNet") -> bytes:
    """A TorchScript module as opcodes, with attributes that are opcodes."""
    items = b"".join(text(name) + value for name, value in attributes.items())
    return b"c" + name.encode() + b"\n)\x81}(" + items + b"ub"


def entry(key: str, value: np.ndarray) -> bytes:
    """A whole array as a tensor."""
    strides = [step // value.itemsize for step in value.strides]
    kind = KINDS[value.dtype.str[1:]]
    return tensor(storage(key, kind, value.size), 0, value.shape, strides)


def zipped(pickled: bytes, storages: Mapping[str, bytes], **options) -> bytes:
    """A file in the zip format."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        for key, value in storages.items():
            archive.writestr(f"archive/data/{key}", value)
        archive.writestr("archive/version", b"3\n")
    return content.getvalue()


def legacy(pickled: bytes, storages: Mapping[str, bytes], counts: Mapping[str, int]) -> bytes:
    """A file in the legacy format."""
    system = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(MAGIC, 2), pickle.dumps(VERSION, 2), pickle.dumps(system, 2), pickled]
    parts.append(pickle.dumps(sorted(storages), 2))
    parts += [struct.pack("<q", counts[key]) + storages[key] for key in sorted(storages)]
    return b"".join(parts)


def file_of(arrays: Mapping[str, np.ndarray], form: str) -> bytes:
    """The state_dict of arrays in the form "zip" or "legacy"."""
    arrays = {name: np.array(value, order="C") for name, value in arrays.items()}
    keys = {name: str(number) for number, name in enumerate(arrays)}
    pickled = state({name: entry(keys[name], value) for name, value in arrays.items()})
    storages = {keys[name]: value.tobytes() for name, value in arrays.items()}
    if form == "zip":
        return zipped(pickled, storages)
    return legacy(pickled, storages, {keys[name]: value.size for name, value in arrays.items()})


def hostile(pickled: bytes) -> dict[str, bytes]:
    """A pickle in both formats, with one storage of four floats."""
    four = np.arange(4, dtype="f4").tobytes()
    return {
        "zip": zipped(pickled, {"0": four}),
        "legacy": legacy(pickled, {"0": four}, {"0": 4}),
    }


def read(folder, content: bytes) -> dict[str, np.ndarray]:
    (folder / "x.pth").write_bytes(content)
    return read_tensors(str(folder / "x.pth"), "download it again")


def refused(folder, content: bytes) -> str:
    """What is said of a file that is refused, in one line with name and way out."""
    with pytest.raises(UserError) as told:
        read(folder, content)
    said = str(told.value)
    assert "\n" not in said and said.startswith(str(folder / "x.pth: "))
    assert said.endswith("; download it again") and len(said) < 600
    return said


def safetensors(header: bytes, numbers: bytes) -> bytes:
    """A .safetensors file."""
    return struct.pack("<Q", len(header)) + header + numbers


def safetensors_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A .safetensors file of arrays."""
    kinds = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
    header, numbers = {}, b""
    for name, value in arrays.items():
        place = [len(numbers), len(numbers) + value.nbytes]
        about = {"dtype": kinds[value.dtype.name], "shape": value.shape, "data_offsets": place}
        header[name] = about
        numbers += value.tobytes()
    return safetensors(json.dumps(header).encode(), numbers)
