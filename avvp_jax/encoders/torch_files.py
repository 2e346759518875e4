"""Reads the tensors of a PyTorch file without PyTorch, in both of its formats.

A zip file has a pickle and a member for each storage. The legacy format, before PyTorch 1.6, is
five pickles in a row (magic number, version, system, content, keys of storages), then the storages:
a count of 64 bits and the numbers. A TorchScript archive is a zip file whose pickle holds a module,
beside code, which is not looked at. Nothing in a file is run, and its claims are compared with its
size before anything is allocated.
"""

import io
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from avvp_jax.encoders.torch_contents import state_of
from avvp_jax.encoders.torch_pickles import Tensor, load
from avvp_jax.errors import UserError, cause
from avvp_jax.storage.reading import DamagedFile, check_file

_ZIP = b"PK\3\4"
_ENCRYPTED = 1  # the flag of an encrypted member
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the legacy format
_LARGEST_PICKLE = 64 << 20  # bytes, far more than names and sizes need


def read_tensors(path: str, way_out: str) -> dict[str, np.ndarray]:
    """The tensors of a file's state_dict, by name; they may share memory.

    The file holds a state_dict, a checkpoint with one under that name, or a TorchScript module.
    Storages that its tensors do not need, such as an optimizer's, are not read.

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
        names = {member.filename: member for member in members}
        # Together they can only be larger than the file if they overlap.
        claimed = sum(member.compress_size for member in members)
        if len(names) < len(members) or claimed > os.fstat(file.fileno()).st_size:
            raise DamagedFile("has members twice, or such as overlap")
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise DamagedFile("is a zip archive without a PyTorch pickle in it")
        if names[pickles[0]].file_size > _LARGEST_PICKLE:
            raise DamagedFile("has a pickle that is far too large")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in names and _read_member(archive, names[order]) != b"little":
            raise DamagedFile("has its numbers in the other byte order")
        content, known = load(io.BytesIO(_read_member(archive, names[pickles[0]])))
        state = state_of(content)
        for storage in known.values():
            name = f"{folder}data/{storage.key}"
            if name not in names or names[name].file_size != storage.nbytes:
                raise DamagedFile(f"does not hold the {storage.nbytes} bytes of storage {name}")
        storages = {
            key: _read_member(archive, names[f"{folder}data/{key}"]) for key in _needed(state)
        }
    return state, storages


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member as PyTorch stores it. What is compressed could expand without bounds."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
        raise DamagedFile(f"{member.filename} in it is compressed, unlike PyTorch's")
    if member.file_size != member.compress_size:
        raise DamagedFile(f"says two things of the size of {member.filename} in it")
    return archive.read(member)


def _read_legacy(file: io.BufferedIOBase) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    beginning = io.BytesIO(file.read(_LARGEST_PICKLE))
    if load(beginning)[0] != _MAGIC or load(beginning)[0] != _VERSION:
        raise DamagedFile("is no PyTorch file")
    system, _ = load(beginning)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise DamagedFile("has its numbers in the other byte order")
    content, known = load(beginning)
    state, (keys, _) = state_of(content), load(beginning)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(known):
        raise DamagedFile("has other storages than its tensors need")
    file.seek(beginning.tell())
    storages, needed = {}, _needed(state)
    left = os.fstat(file.fileno()).st_size - beginning.tell()
    for key in keys:
        left -= 8 + known[key].nbytes
        if left < 0:
            raise DamagedFile("ends early; it is not whole")
        if int.from_bytes(file.read(8), "little") != known[key].count:
            raise DamagedFile(f"has another number of entries in storage {key} than it says")
        if key in needed:
            storages[key] = file.read(known[key].nbytes)
        else:
            file.seek(known[key].nbytes, os.SEEK_CUR)
    return state, storages


def _needed(state: Mapping[str, Tensor]) -> set[str]:
    """The keys of the storages that tensors are in."""
    return {tensor.storage.key for tensor in state.values()}
