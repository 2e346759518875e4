"""Where a run's numbers go: text and json, and TensorBoard through clu with TensorFlow."""

import json
import os
from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Writer(Protocol):
    """The part of clu's MetricWriter that runs use; steps are epochs."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None: ...
    def write_hparams(self, hparams: Mapping[str, object]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def make_writer(workdir: str) -> Writer:
    """The writer of a work directory: a JsonWriter, and where TensorFlow is installed also
    TensorBoard summaries in W/tensorboard."""
    # TensorFlow announces these on the terminal otherwise; it computes nothing here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        # Imported here and nowhere else, because clu's writers bring in TensorFlow.
        from clu.metric_writers import MultiWriter, SummaryWriter
    except ImportError:
        print(
            "TensorFlow is not installed: logging to metrics.jsonl and log.txt without "
            "TensorBoard (pip install tensorflow-cpu for its curves)"
        )
        return JsonWriter(workdir)
    board = SummaryWriter(os.path.join(workdir, "tensorboard"))
    return MultiWriter([board, JsonWriter(workdir)])


class JsonWriter:
    """Appends numbers to W/metrics.jsonl and texts to W/log.txt."""

    def __init__(self, workdir: str):
        self._numbers = os.path.join(workdir, "metrics.jsonl")
        self._texts = os.path.join(workdir, "log.txt")
        _cut_torn_line(self._numbers)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        values = {name: float(np.asarray(value)) for name, value in scalars.items()}
        _append(self._numbers, json.dumps({"step": int(step), **values}))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            _append(self._texts, f"[{step}] {name}\n{text}")

    def write_hparams(self, hparams: Mapping[str, object]) -> None:
        _append(self._numbers, json.dumps({"hparams": dict(hparams)}))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Nothing: every picture of a run is a .png in its work directory already."""

    def flush(self) -> None:
        """Nothing: every line is on disk once written."""

    close = flush


def _cut_torn_line(path: str) -> None:
    """Removes the last line of a file if a process was killed while it wrote it."""
    if os.path.exists(path):
        with open(path, "rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _append(path: str, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\n")
