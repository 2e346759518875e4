"""Reads and writes `.pt` files; PyTorch is an optional dependency.

No code in a file is ever run: PyTorch's restricted unpickler only builds tensors, containers
and numbers, and refuses every other name. NumPy arrays are allowed too, because JoMoLD's
checkpoints hold NumPy random states, and vectors may be arrays.
"""

import dataclasses
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping

import numpy as np

from avvp_jax.errors import UserError, first_ten, one_line
from avvp_jax.interchange.wrappings import PUBLISHED_KEY, Unwrapped, unwrap
from avvp_jax.storage.opcodes import check_opcodes
from avvp_jax.storage.reading import DamagedFile, check_file, read_bytes
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.storage.writing import on_cloud

# Ending of the names of batch norm's counters, the only integers in a state_dict.
COUNTER = "num_batches_tracked"

_ZIP = b"PK\3\4"  # the first bytes of a zip file
_ENCRYPTED = 1  # the flag of an encrypted member


def _torch():
    try:
        import torch
    except ImportError:
        raise UserError(
            "a .pt file needs PyTorch: pip install torch (its CPU build will do)"
        ) from None
    return torch


def _numpy_globals() -> list:
    """The names that a pickled NumPy array of numbers needs, in old and new NumPy."""
    reconstruct = np.empty(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in ("u4", "i8", "u8", "f4", "f8", "i4")]
    return [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        *dtypes,
    ]


def load_safely(path: str):
    """Loads a `.pt` file to the CPU without running code in it.

    Raises:
      UserError: there is no such file, it is damaged, or it names something that
        is neither a tensor, a container, a number nor a NumPy array of numbers.
    """
    torch = _torch()
    if not os.path.lexists(path) and not dead_link(path):
        raise UserError(
            f"{path}: no such checkpoint file; give a published .pt or a work directory"
        )
    try:
        check_file(path)
        with open(path, "rb") as file:
            _refuse_damaged_zip(file)
        with torch.serialization.safe_globals(_numpy_globals()), warnings.catch_warnings():
            # PyTorch warns of pickles that it would not write itself.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; give a published .pt or a work directory") from None
    except MemoryError:
        raise UserError(f"{path}: claims more data than fits in memory; it is damaged") from None
    # The unpickler raises many kinds of exception on a damaged file.
    except Exception as error:
        raise UserError(f"{path}: {_reason(error)}; use a file that holds tensors only") from error


def _refuse_damaged_zip(file: io.BufferedIOBase) -> None:
    """Checks what PyTorch does not: a zip file's checksums, and that nothing is compressed.

    A compressed member could expand without bounds.
    """
    beginning = file.read(len(_ZIP))
    file.seek(0)
    if beginning != _ZIP:  # older versions of PyTorch wrote no zip files
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
                raise ValueError(f"{member.filename} is compressed or encrypted, unlike PyTorch's")
        if damaged := archive.testzip():
            raise ValueError(f"checksum of {damaged} does not agree")


def _reason(error: Exception) -> str:
    """The reason in a long message of PyTorch or pickle, in a few words."""
    text = one_line(error)
    refused = re.search(r"(?:GLOBAL |class )([A-Za-z_][\w.]*\w)", text)
    if "Weights only load failed" in text and refused:
        return f"refused, because it names {refused[1]}, which could run code"
    # PyTorch puts advice to load the file unsafely before the unpickler's own message.
    text = text.partition("WeightsUnpickler error: ")[2] or text
    return f"not a readable file ({type(error).__name__}: {text[:120]})"


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """The content of a published `.pt`.

    Attributes:
      state: the state_dict, name -> array: float32, except for int64 counters of batch norm.
      rest: what JoMoLD's file holds beside `model` (optimizer, epochs, random states), as
        PyTorch loaded it; None if the file is the state_dict itself, or wraps it in another way.
      unwrapped: how the state_dict was found; None in a file to write.
    """

    state: dict[str, np.ndarray]
    rest: dict | None = None
    unwrapped: Unwrapped | None = None


def read_published(path: str) -> PublishedFile:
    """Reads a published `.pt`.

    Raises:
      UserError: see load_safely and unwrap; also if a value is no finite float32 tensor.
    """
    torch = _torch()
    content, rest = load_safely(path), None
    unwrapped = unwrap(content, torch.Tensor, path)
    if unwrapped is None:
        raise UserError(f"{path}: holds no state_dict (names and tensors); save model.state_dict()")
    state = unwrapped.state
    if unwrapped.key == PUBLISHED_KEY:
        rest = {key: value for key, value in content.items() if key != PUBLISHED_KEY}
    odd = [
        f"{name} ({value.dtype}, {value.layout})"
        for name, value in state.items()
        # A file may give a tensor attributes that hide its methods, so vars(value) must be empty.
        if type(value) not in (torch.Tensor, torch.nn.Parameter)
        or vars(value)
        or value.dtype != (torch.int64 if name.endswith(COUNTER) else torch.float32)
        or value.is_nested
        or value.is_neg()
        or value.layout != torch.strided
        or value.device.type != "cpu"
        or value.untyped_storage().nbytes() < value.element_size() * value.numel()
    ]
    if odd:
        raise UserError(
            f"{path}: tensors that are not dense float32: {first_ten(odd)}; save the state_dict of "
            "a model on the CPU in float32"
        )
    arrays = {name: value.detach().numpy().copy() for name, value in state.items()}
    wild = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if wild:
        raise UserError(f"{path}: NaN or infinity in {first_ten(wild)}; use an earlier checkpoint")
    return PublishedFile(arrays, rest, unwrapped)


def write_published(files: Mapping[str, PublishedFile]) -> None:
    """Writes published `.pt` files, by path; an error while writing leaves none of them."""
    torch = _torch()
    partials = {path: f"{path}.partial" for path in files}
    try:
        for path, file in files.items():
            if on_cloud(path):
                raise OSError("it would be on cloud storage")
            if os.path.isdir(path):
                raise IsADirectoryError("a folder is in the way")
            content = {
                name: torch.from_numpy(np.array(value)) for name, value in file.state.items()
            }
            if file.rest is not None:
                content = {PUBLISHED_KEY: content, **file.rest}
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            torch.save(content, partials[path])
        for path, partial in partials.items():
            os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        for partial in partials.values():
            if os.path.isfile(partial):
                os.remove(partial)
        raise UserError(f"{path}: cannot be written: {error}; choose another place") from error


def load_index_lists(path: str) -> list:
    """Loads a pickle of nested lists of integers; an integer may be a torch scalar.

    MA's need_to_change.pkl is such a file. Each scalar in it holds the bytes of a small torch
    file. The outer pickle may name nothing but such scalars. Their bytes are read by PyTorch's
    restricted unpickler, which only accepts tensors.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    _torch()
    try:
        content = read_bytes(path)
        check_opcodes(content)
        with warnings.catch_warnings():
            # PyTorch warns that TypedStorage, which such files hold, is deprecated.
            warnings.simplefilter("ignore", UserWarning)
            return _IndexLists(io.BytesIO(content)).load()
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; use the published need_to_change.pkl") from None
    # As in load_safely, damage raises many kinds of exception.
    except Exception as error:
        raise UserError(
            f"{path}: {_reason(error)}; only lists, integers and torch index tensors are accepted"
        ) from error


class _IndexLists(pickle.Unpickler):
    """Lists, integers and torch index scalars; every other name is refused."""

    def find_class(self, module: str, name: str):
        allowed = {
            ("torch.storage", "_load_from_bytes"): _load_storage,
            ("torch._utils", "_rebuild_tensor_v2"): _index_scalar,
            ("collections", "OrderedDict"): dict,  # a tensor's hooks, of which there are none
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"Weights only load failed: GLOBAL {module}.{name}")
        return allowed[module, name]


def _load_storage(content: object):
    torch, file = _torch(), io.BytesIO(content)
    _refuse_damaged_zip(file)
    file.seek(0)
    storage = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.storage.TypedStorage) or storage.dtype != torch.int64:
        raise ValueError("a tensor is not of 64-bit integers")
    return storage


def _index_scalar(storage, offset: object, size: object, stride: object, *_) -> int:
    """The integer of a torch scalar; takes the arguments of torch's _rebuild_tensor_v2."""
    torch = _torch()
    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError("a tensor has no storage")
    if size != () or type(offset) is not int or offset < 0:
        raise ValueError("a tensor is no single index")
    return int(torch.empty(0, dtype=torch.int64).set_(storage.untyped())[offset])
