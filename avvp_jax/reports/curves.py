"""The numbers of every epoch of a training, as W/metrics.jsonl has them."""

import json
import math
import re
from dataclasses import dataclass, field

import numpy as np
from etils import epath

from avvp_jax.errors import cause, warn

# [seeds_FIRST-LAST/][STAGE/]KIND/NAME, see training/progress.py.
_NAME = re.compile(
    r"(?:seeds_(\d{1,9})-(\d{1,9})/)?(?:([^/]+)/)?(train|val|val_std)/(.+)", re.ASCII
)
_MOST_EPOCHS = 10_000
_LARGEST = float(np.finfo(np.float32).max)  # of what is logged; JSON has integers beyond any float

Group = tuple[int, int] | None  # the first and the last seed of a group; None for all seeds


@dataclass
class StageCurves:
    """What a training stage logged.

    Attributes:
      stage: its name; empty where the method trains once.
      numbers: kind and name, as in "val/segment/type" -> group of seeds -> epoch -> number.
    """

    stage: str
    numbers: dict[str, dict[Group, dict[int, float]]] = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        every = (line for groups in self.numbers.values() for line in groups.values())
        return sorted({epoch for line in every for epoch in line})

    @property
    def seconds(self) -> float:
        """How long all epochs took, of all groups; NaN if it is not known."""
        times = self.numbers.get("train/seconds", {}).values()
        return sum(sum(each.values()) for each in times) if times else math.nan

    def lines(self, name: str) -> list[list[float]]:
        """The numbers of every group by epoch; NaN where there is none."""
        return [
            [line.get(epoch, math.nan) for epoch in self.epochs]
            for _, line in sorted(self.numbers.get(name, {}).items(), key=lambda x: x[0] or ())
        ]

    def mean(self, name: str) -> list[float]:
        """The mean over all seeds by epoch."""
        groups = self.numbers.get(name, {})
        if not groups:
            return [math.nan] * len(self.epochs)
        ends = [group or (0, 0) for group in sorted(groups, key=lambda group: group or ())]
        weights = [last - first + 1 for first, last in ends]
        values = np.array(self.lines(name), float)
        there = np.isfinite(values) * np.array(weights, float)[:, None]
        total = there.sum(axis=0)
        sums = (np.nan_to_num(values) * there).sum(axis=0)
        return np.where(total > 0, sums / np.maximum(total, 1), np.nan).tolist()


def read_curves(path: str) -> list[StageCurves]:
    """Reads a metrics.jsonl; stages are in the order in which they were first logged.

    An epoch that was logged twice counts as it was logged last. Lines that are cut off or of
    other things are passed over.

    A file that is not there or cannot be read has none.
    """
    stages: dict[str, StageCurves] = {}
    for line in _content(path).split(b"\n"):
        record = _record(line)
        epoch = record.get("step")
        if type(epoch) is not int or not 0 < epoch <= _MOST_EPOCHS:
            continue
        for key, value in record.items():
            found = _NAME.fullmatch(key)
            if not found or type(value) not in (int, float) or not abs(value) <= _LARGEST:
                continue
            first, last, stage, kind, name = found.groups()
            group = None if first is None else (int(first), int(last))
            stage = stages.setdefault(stage or "", StageCurves(stage or ""))
            groups = stage.numbers.setdefault(f"{kind}/{name}", {})
            groups.setdefault(group, {})[epoch] = float(value)
    return list(stages.values())


def _content(path: str) -> bytes:
    try:
        return epath.Path(path).read_bytes() if epath.Path(path).is_file() else b""
    except Exception as error:  # cloud storage raises exceptions of its own
        warn(f"{path}: cannot be read ({cause(error)}); the page has no curves")
        return b""


def _record(line: bytes) -> dict:
    """The record in a line; {} if it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
