"""Reads features ahead of their use, in threads of Grain."""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

THREADS = 4

Rows = Int[np.ndarray, "..."]
# Features by role, [*rows, segments, width].
Taken = dict[str, Float[np.ndarray, "..."]]


@runtime_checkable
class Reads(Protocol):
    """The rows of each read, in order, perhaps computed on access."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Rows: ...


class _Source:
    """The reads as a sequence, which Grain needs: read i gives the features of `reads[i]`."""

    def __init__(self, take: Callable[[Rows], Taken], reads: Reads):
        self._take, self._reads = take, reads

    def __len__(self) -> int:
        return len(self._reads)

    def __getitem__(self, index: int) -> Taken:
        return self._take(self._reads[index])


def read_ahead(
    take: Callable[[Rows], Taken], reads: Reads, first: int = 0, ahead: int = 2
) -> Iterator[Taken]:
    """Yields `take(rows)` for each array of rows in turn, and reads the next ones ahead.

    Args:
      take: reads the features of some rows; called in threads.
      reads: the rows of each read.
      first: index of the read to begin with.
      ahead: how many reads may be done before they are needed.
    """
    # Imported here, because it takes long, and only features that stay on disk need it.
    import grain

    dataset = grain.MapDataset.source(_Source(take, reads)).slice(slice(first, None))
    options = grain.ReadOptions(num_threads=min(THREADS, ahead), prefetch_buffer_size=ahead)
    return iter(dataset.to_iter_dataset(options))
