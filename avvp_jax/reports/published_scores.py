"""What a paper reports on the LLP test split. Each method has its row, in methods/."""

from typing import NamedTuple


class Published(NamedTuple):
    """A row of a paper's main comparison table.

    Attributes:
      method: as the paper writes it.
      scores: ten F-scores in percent, in scores.NAMES' order.
      source: the paper.
    """

    method: str
    scores: tuple[float, ...]
    source: str
