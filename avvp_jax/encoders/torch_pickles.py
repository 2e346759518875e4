"""The tensors of a pickle as PyTorch writes it, as descriptions: nothing is run or allocated."""

import dataclasses
import io
import math
import pickle

import ml_dtypes
import numpy as np
from jaxtyping import Shaped

from avvp_jax.storage.opcodes import PLAIN, check_opcodes

# BUILD gives a state_dict its _metadata, which _Dict forgets, and a module its attributes; nothing
# else here takes it. NEWOBJ makes modules alone.
_OPCODES = PLAIN | frozenset(
    "BINPERSID SETITEM SETITEMS DICT BINFLOAT BUILD NEWOBJ EMPTY_SET ADDITEMS BYTEARRAY8".split()
)
_STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MOST_AXES = 32
_TORCHSCRIPT = "__torch__"  # the package of its classes
# What stands in checkpoints beside tensors: NumPy's values, and lists that TorchScript has typed.
_IGNORED = {
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "_codecs": ("encode",),
    "__builtin__": ("set",),
    "builtins": ("set",),
    "torch.jit._pickle": (
        "build_intlist",
        "build_doublelist",
        "build_boollist",
        "build_tensorlist",
        "build_tensor_from_id",
        "restore_type_tag",
    ),
}


class _Closed:
    """What a pickle may refer to, but not change."""

    def __setstate__(self, state: object):
        raise pickle.UnpicklingError("the pickle changes what it has built")


@dataclasses.dataclass(frozen=True)
class Storage(_Closed):
    """Numbers of one dtype, which stand elsewhere in the file under `key`."""

    key: str
    dtype: np.dtype
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor(_Closed):
    """A part of a storage, by offset and strides in elements, all inside of it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, content: bytes) -> Shaped[np.ndarray, "..."]:
        """The tensor in the bytes of its storage, whose memory it shares."""
        size = self.storage.dtype.itemsize
        return np.ndarray(
            self.shape,
            self.storage.dtype,
            content,
            self.offset * size,
            tuple(stride * size for stride in self.strides),
        )


class Module:
    """An object of a TorchScript class, whatever class that is: a bag of attributes."""

    def __new__(cls, *arguments: object):
        if arguments:
            raise pickle.UnpicklingError("a module has arguments")
        return super().__new__(cls)

    def __init__(self):
        self.attributes = {}

    def __setstate__(self, state: object):
        # A class with a __getstate__ of its own may have any; its code is not run.
        self.attributes = state if isinstance(state, dict) else {}


class _Dict(dict):
    """An OrderedDict without attributes, in which each name stands once."""

    def __setitem__(self, name: object, value: object):
        if name in self:
            raise pickle.UnpicklingError(f"the pickle has {name!s:.80} twice")
        super().__setitem__(name, value)

    def __setstate__(self, state: object):
        pass


class _Ignored:
    """A value that is no tensor."""

    def __setstate__(self, state: object):
        pass


class _Function(_Closed):
    """A function that a pickle may call."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)


class _Kind(_Closed):
    """A class of storages."""

    def __init__(self, name: str):
        self.dtype = np.dtype(_STORAGES[name])


def _tensor(*arguments: object) -> Tensor:
    """Takes the arguments of torch's _rebuild_tensor_v2."""
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor has no storage")
    lengths = (*shape, *strides, offset) if _tuples(shape, strides) else ()
    if not lengths or not all(type(each) is int and 0 <= each < 2**62 for each in lengths):
        raise pickle.UnpicklingError("a tensor's sizes are no sizes")
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise pickle.UnpicklingError("a tensor's sizes and strides do not belong together")
    count = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    # A stride of 0 would make a large tensor of a small storage.
    if count and (last >= storage.count or count > storage.count):
        raise pickle.UnpicklingError(f"a tensor reaches beyond its storage of {storage.count}")
    return Tensor(storage, offset if count else 0, shape, strides)


def _tuples(*values: object) -> bool:
    return all(type(value) is tuple for value in values)


def _parameter(*arguments: object) -> Tensor:
    """Takes the arguments of torch's _rebuild_parameter."""
    if not isinstance(arguments[0], Tensor):
        raise pickle.UnpicklingError("a parameter is no tensor")
    return arguments[0]


def _dict(*arguments: object) -> _Dict:
    if arguments:
        raise pickle.UnpicklingError("an OrderedDict has arguments")
    return _Dict()


def _ignored(*arguments: object) -> _Ignored:
    return _Ignored()


_NAMES = {
    ("collections", "OrderedDict"): _Function(_dict),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    **{("torch", name): _Kind(name) for name in _STORAGES},
    **{(module, name): _Function(_ignored) for module, names in _IGNORED.items() for name in names},
}


class _Unpickler(pickle.Unpickler):
    """Containers, numbers, tensors and modules; every other name is refused.

    Attributes:
      storages: those that the pickle refers to, by key.
    """

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="utf-8")
        self.storages = {}

    def find_class(self, module: str, name: str):
        if module == _TORCHSCRIPT or module.startswith(f"{_TORCHSCRIPT}."):
            return Module
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"refused, because it names {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: object) -> Storage:
        if not (type(pid) is tuple and len(pid) in (5, 6) and pid[0] == "storage"):
            raise pickle.UnpicklingError("the pickle refers to something that is no storage")
        kind, key, _, count = pid[1:5]
        if not isinstance(kind, _Kind) or type(key) is not str:
            raise pickle.UnpicklingError("a storage has no type or no name")
        if type(count) is not int or not 0 <= count < 2**62:
            raise pickle.UnpicklingError("a storage's size is no size")
        if pid[5:] not in ((), (None,)):
            raise pickle.UnpicklingError("a storage is a part of another")
        storage = Storage(key, kind.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"the pickle says two things of its storage {key}")
        return storage


def load(file: io.BufferedIOBase) -> tuple[object, dict[str, Storage]]:
    """The pickle that a file is at: containers, numbers, Tensors and Modules; its storages by key.

    Raises:
      Exception: of many kinds, if it is damaged, or names or does anything else.
    """
    start = file.tell()
    check_opcodes(file, _OPCODES)
    file.seek(start)
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages
