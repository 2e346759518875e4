"""Reading ahead: what is needed next is read from disk by Grain's threads meanwhile."""

from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np
from jaxtyping import Float, Int

THREADS = 4

Rows = Int[np.ndarray, "..."]
# Features by role, [*rows, segments, width].
Taken = dict[str, Float[np.ndarray, "..."]]


class _Reads:
    """Features by the number of their read, for Grain."""

    def __init__(self, take: Callable[[Rows], Taken], reads: Sequence[Rows]):
        self._take, self._reads = take, reads

    def __len__(self) -> int:
        return len(self._reads)

    def __getitem__(self, index: int) -> Taken:
        return self._take(self._reads[index])


def read_ahead(
    take: Callable[[Rows], Taken], reads: Sequence[Rows], first: int = 0, ahead: int = 2
) -> Iterator[Taken]:
    """What `take` gives for one array of rows after another; some are read ahead.

    Args:
      take: reads the features of some rows; is called in threads.
      reads: the rows of every read, in order; may compute them when they are asked for.
      first: the read to begin with.
      ahead: how many reads are done before they are needed, at most.
    """
    dataset = grain.MapDataset.source(_Reads(take, reads)).slice(slice(first, None))
    options = grain.ReadOptions(num_threads=min(THREADS, ahead), prefetch_buffer_size=ahead)
    return iter(dataset.to_iter_dataset(options))
