"""TensorBoard summaries on cloud storage. Imports TensorFlow, so only writers.py imports this."""

import os
import pathlib
import tempfile
import time
from collections.abc import Mapping

from clu.metric_writers import SummaryWriter

from avvp_jax.storage.writing import CLOUD_SECONDS, write_whole


class CloudWriter(SummaryWriter):
    """Writes summaries to a temporary folder, and copies them to cloud storage now and then."""

    def __init__(self, folder: str):
        self._here, self._there = tempfile.TemporaryDirectory(prefix="avvp_jax-"), folder
        self._copied_at = time.monotonic()
        super().__init__(self._here.name)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        super().write_scalars(step, scalars)
        if time.monotonic() > self._copied_at + CLOUD_SECONDS:
            self.flush()

    def flush(self) -> None:
        super().flush()
        self._copy()

    def close(self) -> None:
        super().close()
        self._copy()

    def _copy(self) -> None:
        for file in pathlib.Path(self._here.name).iterdir():
            write_whole(os.path.join(self._there, file.name), file.read_bytes())
        self._copied_at = time.monotonic()
