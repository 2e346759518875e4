"""Contents that lie, expand, or would run something; all short."""

import collections
import io
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import torch

EXECUTED = "executed"  # the file that code in an input would leave
TERABYTES = 10**13
UNREADABLE = "unreadable"  # the mechanism that does nothing to root


class Trap:
    """Leaves a file beside `path` if somebody unpickles it."""

    def __init__(self, path: pathlib.Path):
        self.path = str(path.parent / EXECUTED)

    def __reduce__(self):
        return open, (self.path, "w")


def trap(path: pathlib.Path) -> None:
    """A pickle that runs code."""
    path.write_bytes(pickle.dumps(Trap(path)))


def trap_array(path: pathlib.Path) -> None:
    """A .npy of objects, the first of which runs code."""
    with path.open("wb") as file:
        np.save(file, np.array([Trap(path)] * 25, object))


def npy(descr: str, shape: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy whose header says this, whatever follows."""
    return (
        npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", version)
        + data
    )


def npy_header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """The beginning of a .npy with this text for a header."""
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes(version) + length + text.encode("latin1") + b"\n"


def saved(array) -> Callable[[pathlib.Path], None]:
    """Writes an array as .npy, whatever the file's name."""

    def write(path: pathlib.Path) -> None:
        with path.open("wb") as file:
            np.save(file, array)

    return write


def flipped(content: bytes, at: int) -> bytes:
    """Content with one bit changed."""
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def sparse(path: pathlib.Path) -> None:
    """A file of four terabytes that take no room."""
    with path.open("wb") as file:
        file.truncate(1 << 42)


def nothing(path: pathlib.Path) -> None:
    """Leaves no file where one should be."""


def unreadable(path: pathlib.Path) -> None:
    """A file that nobody may read."""
    path.write_text("something")
    path.chmod(0)


def loop(path: pathlib.Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


def rezipped(
    source: pathlib.Path, edit: Callable[[str, bytes], bytes | None], compression=zipfile.ZIP_STORED
) -> Callable[[pathlib.Path], None]:
    """Writes a zip file with its members' contents changed; None leaves one out."""

    def write(path: pathlib.Path) -> None:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
            for member in old.namelist():
                content = edit(member, old.read(member))
                if content is not None:
                    new.writestr(member, content)

    return write


def claiming(content: bytes, signature: bytes, at: int, claim: int) -> bytes:
    """A zip file with a four-byte number exchanged, in the record with this signature."""
    changed = bytearray(content)
    start = changed.rindex(signature) + at
    changed[start : start + 4] = struct.pack("<I", claim)
    return bytes(changed)


class _Storage:
    """What PyTorch's own pickles call with the bytes of a nested file."""

    def __init__(self, content: bytes):
        self.content = content

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.content,)


class IndexScalar:
    """An index as MA's published pickle holds it: a torch scalar over these bytes."""

    def __init__(self, content: bytes):
        self.content = content

    def __reduce__(self):
        arguments = (_Storage(self.content), 0, (), (), False, collections.OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


def torch_bytes(content, **options) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()
