"""Reads files of unknown origin: their bytes, and arrays in .npy and .npz.

Sizes that a file claims are compared with its real size before anything is allocated. Nothing
is ever unpickled.
"""

import contextlib
import io
import math
import os
import stat
import threading
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath
from jaxtyping import Shaped

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.stand_ins import BEGINNING, dead_link, stand_in
from avvp_jax.storage.writing import on_cloud

# Far more than any artefact needs; the longest array of LLP's has 10,000 rows.
LARGEST_FILE = 256 << 20
# More than any .npy header of a plain array needs.
LONGEST_HEADER = 4096
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy has Python parse headers, which fails at random in Python 3.11 when several threads do it.
_PARSING = threading.Lock()
# The compressions that NumPy uses in an .npz. zipfile does not bound the output of others.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class DamagedFile(Exception):
    """A file cannot be used; the message says why, in words that can follow the file's name."""


class TooLarge(DamagedFile):
    """A file has more bytes than what is asked for; `beginning` are its first ones."""

    def __init__(self, message: str, beginning: bytes):
        super().__init__(message)
        self.beginning = beginning


def read_bytes(path: str | os.PathLike, largest: int = LARGEST_FILE) -> bytes:
    """The content of a regular file.

    Raises:
      DamagedFile: it is no regular file, is empty, has more than `largest` bytes, cannot be
        read, or is a web page, a pointer or the like (see stand_in).
    """
    with _refusing_unreadable(path):
        size = _size(path)
        if size > largest:
            beginning = _beginning(path)
            _refuse_stand_in(path, beginning)
            raise TooLarge(f"has {size} bytes, too many; {largest} are enough", beginning)
        content = epath.Path(path).read_bytes()
    _refuse_stand_in(path, content[:BEGINNING])
    return content


def check_file(path: str | os.PathLike) -> None:
    """Checks a file that another library will read, as read_bytes does; it may have any size.

    Raises:
      DamagedFile: see read_bytes.
    """
    with _refusing_unreadable(path):
        _size(path)
        beginning = _beginning(path)
    _refuse_stand_in(path, beginning)


@contextlib.contextmanager
def _refusing_unreadable(path: str | os.PathLike) -> Iterator[None]:
    """Raises DamagedFile where the system or cloud storage refuses to read a file."""
    try:
        yield
    except DamagedFile:
        raise
    except Exception as error:
        # A NUL in the name raises ValueError; cloud storage raises exceptions of its own.
        if not (isinstance(error, (OSError, ValueError)) or on_cloud(path)):
            raise
        if isinstance(error, FileNotFoundError) and (problem := dead_link(path)):
            raise DamagedFile(problem) from None
        raise DamagedFile(f"cannot be read ({cause(error)})") from None


def _beginning(path: str | os.PathLike) -> bytes:
    with epath.Path(path).open("rb") as file:
        return file.read(BEGINNING)


def _refuse_stand_in(path: str | os.PathLike, beginning: bytes) -> None:
    if problem := stand_in(path, beginning):
        raise DamagedFile(problem)


def _size(path: str | os.PathLike) -> int:
    """The size of a regular file in bytes; one without any is refused."""
    if on_cloud(path):
        status = epath.Path(path).stat()
        if status.is_directory:
            raise DamagedFile("is a folder")
        size = status.length
    else:
        # Reading a pipe could block, and reading a device might never end.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFile("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a file")
        size = status.st_size
    if size == 0:
        raise DamagedFile("is empty")
    return size


def is_there(path: str | os.PathLike) -> bool:
    """Whether something is at a path; a broken symbolic link counts.

    Raises:
      UserError: cloud storage gives no answer.
    """
    return _ask_storage(path, "exists") if on_cloud(path) else os.path.lexists(path)


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a path is a folder, or on cloud storage a prefix of objects' names.

    Raises:
      UserError: cloud storage gives no answer.
    """
    return _ask_storage(path, "is_dir") if on_cloud(path) else os.path.isdir(path)


def _ask_storage(path: str | os.PathLike, question: str) -> bool:
    """The result of an epath method that asks cloud storage about a path."""
    bucket_of(path)
    try:
        return getattr(epath.Path(path), question)()
    except Exception as error:  # the storage's package raises its own kinds, or is missing
        raise UserError(f"{path}: cannot be looked for ({cause(error)})") from error


def bucket_of(path: str | os.PathLike) -> str:
    """The bucket in an address of cloud storage.

    Raises:
      UserError: the address has no bucket, or is not one of gs://.
    """
    storage, _, place = os.fspath(path).partition("://")
    bucket = place.partition("/")[0]
    if storage != "gs" or not bucket:
        raise UserError(f"{path}: must be a path on this machine or gs://BUCKET/FOLDER")
    return bucket


def odd_file(folder: str | os.PathLike) -> str | None:
    """The first path below a folder that is neither file nor folder, such as a pipe; None without.

    Reading such a path could block.
    """
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names):
            if os.path.exists(path) and not os.path.isfile(path):
                return path
    return None


def parse_npy(content: bytes) -> Shaped[np.ndarray, "..."]:
    """The array in the bytes of a .npy file. It shares their memory.

    Raises:
      DamagedFile: the bytes are no .npy file, hold Python objects, or do not have the length
        that the header promises.
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
    # The length can agree and NumPy refuse: a zero or an empty dtype hides huge lengths, or
    # there are more axes than NumPy allows.
    except (ValueError, OverflowError):
        raise DamagedFile(f"has shape {str(list(shape)):.60}, which no array has") from None


def header_of(beginning: bytes) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and dtype that the first bytes of a .npy file promise; None if they are no header."""
    try:
        shape, _, dtype, _ = _parse_header(beginning)
    except DamagedFile:
        return None
    return (shape, dtype) if all(type(length) is int for length in shape) else None


def _parse_header(content: bytes) -> tuple[tuple[int, ...], str, np.dtype, int]:
    """Shape, memory order, dtype, and the offset at which the numbers begin."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise DamagedFile("is not a .npy file") from None
    if version not in _HEADER_READERS:
        raise DamagedFile(f"has .npy version {version[0]}.{version[1]}; arrays have 1.0 or 2.0")
    try:
        with _PARSING:
            shape, fortran, dtype = _HEADER_READERS[version](file, max_header_size=LONGEST_HEADER)
    # NumPy's parser (ast, tokenize, dtype) raises many kinds of exception on damaged text.
    except Exception:
        raise DamagedFile("has a .npy header that cannot be read") from None
    return shape, "F" if fortran else "C", dtype, file.tell()


def read_npz(
    path: str, names: Sequence[str], way_out: str, without: str = ""
) -> dict[str, np.ndarray]:
    """The named arrays of an .npz.

    Args:
      way_out: ends the message of an error; says what to do.
      without: an array by which another kind of file with these names is known.

    Raises:
      UserError: the file is missing or damaged, lacks one of the arrays, or is of that kind.
    """
    try:
        return _parse_npz(read_bytes(path), names, without)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None


def _parse_npz(content: bytes, names: Sequence[str], without: str) -> dict[str, np.ndarray]:
    arrays, name = {}, without
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if name and f"{name}.npy" in archive.namelist():
                raise DamagedFile("is of another kind of file")
            for name in names:
                arrays[name] = parse_npy(_read_member(archive, f"{name}.npy"))
    except DamagedFile as problem:
        raise DamagedFile(f"its array {name!r} {problem}") from None
    # zipfile raises many kinds of exception on bytes that are no intact zip file.
    except Exception as error:
        raise DamagedFile(f"is not a readable .npz ({cause(error)})") from None
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of the one member of this name, at most LARGEST_FILE bytes of it."""
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise DamagedFile("is there more than once" if found else "is missing")
    if found[0].compress_type not in _COMPRESSIONS:
        raise DamagedFile("is compressed in another way than NumPy's")
    if found[0].file_size > LARGEST_FILE:
        raise DamagedFile(f"claims {found[0].file_size} bytes, too many")
    with archive.open(found[0]) as file:
        return file.read(LARGEST_FILE + 1)  # bounded, because the claimed size may be wrong
