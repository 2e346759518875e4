"""Reading files that somebody else made: the bytes, and arrays in .npy and .npz.

What a file says of itself is compared with its size before anything is allocated,
and nothing in it is ever unpickled.
"""

import io
import math
import os
import stat
import zipfile
from collections.abc import Sequence

import numpy as np
from etils import epath
from jaxtyping import Shaped

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.writing import on_cloud

# Far more than any artefact needs; the longest array of LLP's has 10,000 rows.
LARGEST_FILE = 256 << 20
# More than any .npy header of a plain array needs.
LONGEST_HEADER = 4096
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# How NumPy writes the arrays of an .npz. Other ways to compress know no bounds when they expand.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class DamagedFile(Exception):
    """What is wrong with a file, in a few words that can follow its name."""


def read_bytes(path: str | os.PathLike, largest: int = LARGEST_FILE) -> bytes:
    """The content of a regular file.

    Raises:
      DamagedFile: it is none, cannot be read, is empty, or has more than `largest` bytes.
    """
    try:
        size = _size(path)
        if size == 0:
            raise DamagedFile("is empty")
        if size > largest:
            raise DamagedFile(f"has {size} bytes, too many; {largest} are enough")
        return epath.Path(path).read_bytes()
    except DamagedFile:
        raise
    except Exception as error:
        # ValueError is a NUL in the name; cloud storage has exceptions of its own.
        if not (isinstance(error, (OSError, ValueError)) or on_cloud(path)):
            raise
        raise DamagedFile(f"cannot be read ({cause(error)})") from None


def _size(path: str | os.PathLike) -> int:
    """The bytes of a regular file."""
    if on_cloud(path):
        status = epath.Path(path).stat()
        if status.is_directory:
            raise DamagedFile("is a folder")
        return status.length
    # A pipe or a device would be waited for, or read for ever.
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFile("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a file")
    return status.st_size


def is_there(path: str | os.PathLike) -> bool:
    """Whether something is at a path, if only a link to nothing.

    Raises:
      UserError: cloud storage does not tell.
    """
    return _stored(path, "exists") if on_cloud(path) else os.path.lexists(path)


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a path is a folder, or on cloud storage what names of objects begin with.

    Raises:
      UserError: cloud storage does not tell.
    """
    return _stored(path, "is_dir") if on_cloud(path) else os.path.isdir(path)


def _stored(path: str | os.PathLike, question: str) -> bool:
    """What cloud storage answers to a method of epath's."""
    bucket_of(path)
    try:
        return getattr(epath.Path(path), question)()
    except Exception as error:  # of the storage's own package, or that lacks
        raise UserError(f"{path}: cannot be looked for ({cause(error)})") from error


def bucket_of(path: str | os.PathLike) -> str:
    """The bucket of an address of cloud storage.

    Raises:
      UserError: it has none, or is of another kind of storage.
    """
    storage, _, place = os.fspath(path).partition("://")
    bucket = place.partition("/")[0]
    if storage != "gs" or not bucket:
        raise UserError(f"{path}: must be a path on this machine or gs://BUCKET/FOLDER")
    return bucket


def odd_file(folder: str | os.PathLike) -> str | None:
    """A path below a folder that is neither file nor folder: a reader of all would wait for it."""
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names):
            if os.path.exists(path) and not os.path.isfile(path):
                return path
    return None


def parse_npy(content: bytes) -> Shaped[np.ndarray, "..."]:
    """The array in the bytes of a .npy file, which it shares.

    Raises:
      DamagedFile: they hold none, or it has Python objects or another length than it says.
    """
    shape, order, dtype, start = _parse_header(content)
    if dtype.hasobject:
        raise DamagedFile("holds pickled Python objects, which are never loaded")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise DamagedFile(f"has shape {str(list(shape)):.60}, which no array has")
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DamagedFile(
            f"has {len(content)} bytes where its header promises {str(expected):.30} for shape "
            f"{str(list(shape)):.60}"
        )
    try:
        return np.ndarray(shape, dtype, buffer=content, offset=start, order=order)
    # Lengths whose product is small only by a zero or an empty dtype; more axes than NumPy has.
    except (ValueError, OverflowError):
        raise DamagedFile(f"has shape {str(list(shape)):.60}, which no array has") from None


def _parse_header(content: bytes) -> tuple[tuple[int, ...], str, np.dtype, int]:
    """Shape, memory order, dtype and the place where the numbers begin."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise DamagedFile("is not a .npy file") from None
    if version not in _HEADER_READERS:
        raise DamagedFile(f"has .npy version {version[0]}.{version[1]}; arrays have 1.0 or 2.0")
    try:
        shape, fortran, dtype = _HEADER_READERS[version](file, max_header_size=LONGEST_HEADER)
    # NumPy's parser (ast, tokenize, dtype) answers damaged text with many kinds of exception.
    except Exception:
        raise DamagedFile("has a .npy header that cannot be read") from None
    return shape, "F" if fortran else "C", dtype, file.tell()


def read_npz(path: str, names: Sequence[str], way_out: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz by name.

    Raises:
      UserError: the file is missing or damaged, or it lacks one of them.
    """
    try:
        return _parse_npz(read_bytes(path), names)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None


def _parse_npz(content: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in names:
                arrays[name] = parse_npy(_member(archive, f"{name}.npy"))
    except DamagedFile as problem:
        raise DamagedFile(f"its array {name!r} {problem}") from None
    # A damaged zip file, or one that is none, can fail in any way.
    except Exception as error:
        raise DamagedFile(f"is not a readable .npz ({cause(error)})") from None
    return arrays


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member, of which there must be one; never more than LARGEST_FILE bytes."""
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise DamagedFile("is there more than once" if found else "is missing")
    if found[0].compress_type not in _COMPRESSIONS:
        raise DamagedFile("is compressed in another way than NumPy's")
    if found[0].file_size > LARGEST_FILE:
        raise DamagedFile(f"claims {found[0].file_size} bytes, too many")
    with archive.open(found[0]) as file:
        return file.read(LARGEST_FILE + 1)  # what is expanded ends here, whatever the file says
