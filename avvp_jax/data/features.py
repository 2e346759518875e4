"""Features of a split, by role (audio, visual, snippet): in memory, or on disk.

Both classes have the same interface:
  take(rows)       features of some videos, [*rows, segments, width], on the host
  parts()          features of all videos in order, some videos at a time
  arrays           features of all videos if they are in memory; empty if they are on disk
  resident_bytes   size of `arrays`
  shapes           role -> (segments, width), the shape of one video's features
  dtypes           role -> their dtype: float32, or float16 of frames (config.data.frames_dtype)
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int

from avvp_jax.data.examples import WAY_OUT, read_examples
from avvp_jax.data.streaming import read_ahead
from avvp_jax.errors import damaged_data
from avvp_jax.streams import DataSpec

# Videos in a part of a split on disk.
PART_VIDEOS = 256

Rows = Int[np.ndarray, "..."]
ByRole = dict[str, Float[np.ndarray, "..."]]


class ResidentFeatures:
    """Features of a split as arrays, [videos, segments, width] by role."""

    def __init__(self, arrays: Mapping[str, Float[np.ndarray, "videos segments _"]]):
        self.arrays = dict(arrays)
        self.shapes = {role: x.shape[1:] for role, x in self.arrays.items()}
        self.dtypes = {role: x.dtype for role, x in self.arrays.items()}
        self.resident_bytes = sum(x.nbytes for x in self.arrays.values())

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, rows: Rows) -> ByRole:
        """Features of some videos, [*rows, segments, width]."""
        return {role: x[rows] for role, x in self.arrays.items()}

    def parts(self) -> Iterator[ByRole]:
        """Features of all videos, in one part."""
        yield self.arrays


class StoredFeatures:
    """Features of a split that stay on disk, in the prepared data, and are read when needed.

    Args:
      source: the split as a TFDS data source, whose examples have an array for each stream.
      spec: the streams of the roles, and their shapes.
    """

    def __init__(self, source, spec: DataSpec):
        self._source = source
        self._names = {role: stream.name for role, stream in spec.roles.items()}
        self.arrays: ByRole = {}
        segments, task = spec.task.segments, spec.task
        self.shapes = {role: (segments, s.segment_width(task)) for role, s in spec.roles.items()}
        self.dtypes = {role: np.dtype(s.dtype) for role, s in spec.roles.items()}
        self.resident_bytes = 0

    def __len__(self) -> int:
        return len(self._source)

    def take(self, rows: Rows) -> ByRole:
        """Features of some videos, [*rows, segments, width].

        Raises:
          UserError: the prepared data is damaged.
        """
        features = {
            role: np.empty((rows.size, *shape), self.dtypes[role])
            for role, shape in self.shapes.items()
        }
        for place, example in enumerate(read_examples(self._source, rows.ravel().tolist())):
            for role, name in self._names.items():
                features[role][place] = example[name]
        for role, name in self._names.items():
            if not np.isfinite(features[role]).all():
                folder = self._source.dataset_info.data_dir
                raise damaged_data(folder, f"it has NaN or infinity in {name}", WAY_OUT)
        return {role: x.reshape(*rows.shape, *x.shape[1:]) for role, x in features.items()}

    def parts(self) -> Iterator[ByRole]:
        """Features of all videos in order, PART_VIDEOS at a time; the next part is read ahead.

        Raises:
          UserError: the prepared data is damaged.
        """
        rows = np.arange(len(self))
        return read_ahead(self.take, np.split(rows, range(PART_VIDEOS, len(rows), PART_VIDEOS)))


SplitFeatures = ResidentFeatures | StoredFeatures
