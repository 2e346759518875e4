"""Reads the tensors of a PyTorch file without PyTorch, in both of its formats.

A zip file has a pickle and a member for each storage. The legacy format, before PyTorch 1.6, is
five pickles in a row (magic number, version, system, content, keys of storages), then the storages:
a count of 64 bits and the numbers. Nothing in a file is run, and its claims are compared with its
size before anything is allocated.
"""

import io
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from avvp_jax.encoders.torch_pickles import Storage, Tensor, load
from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.storage.reading import DamagedFile, check_file

_ZIP = b"PK\3\4"
_ENCRYPTED = 1  # the flag of an encrypted member
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the legacy format
_LARGEST_PICKLE = 64 << 20  # bytes, far more than names and sizes need


def read_tensors(path: str, way_out: str) -> dict[str, np.ndarray]:
    """The tensors of a state_dict in a file, by name; they may share memory.

    Args:
      way_out: ends the message of an error; says what to do.

    Raises:
      UserError: the file is missing or damaged, or holds anything but named tensors.
    """
    try:
        check_file(path)
        with open(path, "rb") as file:
            zipped = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            content, storages = _read_zip(file) if zipped else _read_legacy(file)
        return {name: tensor.of(storages[tensor.storage.key]) for name, tensor in content.items()}
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit in memory; {way_out}") from None
    # zipfile, pickle and pickletools raise many kinds of exception on damaged bytes.
    except Exception as error:
        raise UserError(
            f"{path}: not a readable PyTorch file ({cause(error)}); {way_out}"
        ) from None


def _read_zip(file: io.BufferedIOBase) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
                raise DamagedFile(f"{member.filename} in it is compressed, unlike PyTorch's")
        names = {member.filename: member for member in members}
        # Members that are not compressed can only be larger than the file if they overlap.
        claimed = sum(member.file_size for member in members)
        if len(names) < len(members) or claimed > os.fstat(file.fileno()).st_size:
            raise DamagedFile("has members twice, or such as overlap")
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise DamagedFile("is a zip archive without a PyTorch pickle in it")
        if names[pickles[0]].file_size > _LARGEST_PICKLE:
            raise DamagedFile("has a pickle that is far too large")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise DamagedFile("has its numbers in the other byte order")
        content = _state(load(io.BytesIO(archive.read(pickles[0]))))
        storages = {}
        for storage in _storages(content):
            name = f"{folder}data/{storage.key}"
            if name not in names or names[name].file_size != storage.nbytes:
                raise DamagedFile(f"does not hold the {storage.nbytes} bytes of storage {name}")
            storages[storage.key] = archive.read(name)
    return content, storages


def _read_legacy(file: io.BufferedIOBase) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    beginning = io.BytesIO(file.read(_LARGEST_PICKLE))
    if load(beginning) != _MAGIC or load(beginning) != _VERSION:
        raise DamagedFile("is no PyTorch file")
    system = load(beginning)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise DamagedFile("has its numbers in the other byte order")
    content, keys = _state(load(beginning)), load(beginning)
    known = {storage.key: storage for storage in _storages(content)}
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(known):
        raise DamagedFile("has other storages than its tensors need")
    file.seek(beginning.tell())
    storages = {}
    left = os.fstat(file.fileno()).st_size - beginning.tell()
    for key in keys:
        left -= 8 + known[key].nbytes
        if left < 0:
            raise DamagedFile("ends early; it is not whole")
        if int.from_bytes(file.read(8), "little") != known[key].count:
            raise DamagedFile(f"has another number of entries in storage {key} than it says")
        storages[key] = file.read(known[key].nbytes)
    return content, storages


def _state(content: object) -> dict[str, Tensor]:
    """A pickle's content, if that is a state_dict."""
    if not isinstance(content, Mapping) or not all(type(name) is str for name in content):
        raise DamagedFile("holds no state_dict (names and tensors)")
    odd = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if odd or not content:
        raise DamagedFile(f"holds no state_dict; no tensors: {first_ten(odd)}")
    return dict(content)


def _storages(content: Mapping[str, Tensor]) -> list[Storage]:
    """The storages of tensors, once each.

    Raises:
      DamagedFile: one name stands for several.
    """
    found = {}
    for tensor in content.values():
        storage = found.setdefault(tensor.storage.key, tensor.storage)
        if storage != tensor.storage:
            raise DamagedFile(f"says two things of its storage {storage.key}")
    return list(found.values())
