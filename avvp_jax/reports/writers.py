"""Writers of a run's numbers: json and text, and TensorBoard if TensorFlow is installed."""

import importlib.util
import json
import os
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from avvp_jax.runtime import processes
from avvp_jax.storage.writing import Journal, on_cloud


@runtime_checkable
class Writer(Protocol):
    """The part of clu's MetricWriter that runs use; steps are epochs."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None: ...
    def write_hparams(self, hparams: Mapping[str, object]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def make_writer(workdir: str) -> Writer:
    """The writer of a work directory.

    A JsonWriter, and if TensorFlow is installed, also TensorBoard summaries in W/tensorboard.
    Only process 0 writes.
    """
    if not processes.first():
        return Silent()
    # Without these, TensorFlow prints notices on the terminal.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if importlib.util.find_spec("tensorflow"):
        # TensorFlow brings in keras, and that matplotlib, which cannot always be imported.
        import avvp_jax.reports.pictures  # noqa: F401
    try:
        # Imported here and nowhere else, because clu's writers bring in TensorFlow.
        from clu.metric_writers import MultiWriter, SummaryWriter

        from avvp_jax.reports.board import CloudWriter
    except ImportError:
        print(
            "TensorFlow is not installed: logging to metrics.jsonl and log.txt without "
            "TensorBoard (pip install tensorflow-cpu for its curves)"
        )
        return JsonWriter(workdir)
    board = (CloudWriter if on_cloud(workdir) else SummaryWriter)(f"{workdir}/tensorboard")
    return MultiWriter([board, JsonWriter(workdir)])


class Silent:
    """A writer that writes nothing, for all processes but process 0."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None: ...
    def write_hparams(self, hparams: Mapping[str, object]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class JsonWriter:
    """Appends numbers to W/metrics.jsonl and texts to W/log.txt."""

    def __init__(self, workdir: str):
        self._numbers = Journal(os.path.join(workdir, "metrics.jsonl"))
        self._texts = Journal(os.path.join(workdir, "log.txt"))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        values = {name: float(np.asarray(value)) for name, value in scalars.items()}
        self._numbers.add(json.dumps({"step": int(step), **values}))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            self._texts.add(f"[{step}] {name}\n{text}")

    def write_hparams(self, hparams: Mapping[str, object]) -> None:
        self._numbers.add(json.dumps({"hparams": dict(hparams)}))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes nothing: every picture of a run is already a .png in its work directory."""

    def flush(self) -> None:
        """Writes all lines that are not in the files yet."""
        self._numbers.flush()
        self._texts.flush()

    close = flush
