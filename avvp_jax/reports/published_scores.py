"""Scores that papers report on the LLP test split. Each method defines its row, in methods/."""

import math
from typing import NamedTuple

# How many videos each split of LLP has; the papers' scores are of all of them.
LLP_VIDEOS = {"train": 10_000, "val": 649, "test": 1_200}
UNKNOWN = math.nan


class Published(NamedTuple):
    """A row of a paper's main comparison table.

    Attributes:
      method: the name in the paper.
      scores: ten F-scores in percent, in scores.NAMES' order; UNKNOWN where one is not known.
      source: the paper.
    """

    method: str
    scores: tuple[float, ...]
    source: str
