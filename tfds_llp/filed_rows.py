"""Rows of features that stay in their files, because all of them are more than memory holds."""

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from avvp_jax.errors import UserError
from avvp_jax.storage.reading import DamagedFile

Row = Float[np.ndarray, "segments _"]
Read = Callable[[], Row]


class FiledRows:
    """A stream of a split, of which digests alone are in memory.

    Each file is read twice: once with all others, so that nothing is written if one is damaged, and
    once when its row is written, which must then be what it was.

    Attributes:
        digests: of each row.
    """

    def __init__(self, names: Sequence[str], shape: tuple[int, int], dtype: str):
        """Rows of this shape and dtype, of the videos of these names."""
        self._names, self._shape, self._dtype = names, shape, np.dtype(dtype)
        self.digests: UInt8[np.ndarray, "videos 32"] = np.zeros((len(names), 32), np.uint8)
        self._read: dict[int, Read] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self._names) * math.prod(self._shape) * self._dtype.itemsize

    def put(self, row: int, features: Row, read: Read) -> None:
        """Sets a row, which `read` reads again."""
        self.digests[row], self._read[row] = _digest(features), read

    def __getitem__(self, row: int) -> Row:
        """Reads a row.

        Raises:
            UserError: it is no longer what it was.
        """
        try:
            features = self._read[row]()
            same = (_digest(features) == self.digests[row]).all()
        except DamagedFile:
            same = False
        if not same:
            raise UserError(
                f"{self._names[row]}: its features have changed while they were prepared; start "
                "again when nothing writes there any more"
            )
        return features


def _digest(features: Row) -> UInt8[np.ndarray, " bytes"]:
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(features)).digest(), np.uint8)
