"""Splits one table into train and val, so that both have all classes as often as they can.

Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011:
classes are dealt out one after the other, the rarest first. Clips of one video stay together.
"""

import hashlib
import heapq
import os
from collections.abc import Mapping, Sequence

import numpy as np

from avvp_jax.errors import UserError


def val_of(
    groups: Mapping[str, Sequence[Sequence[int]]],
    classes: int,
    share: float,
    seed: int,
    table: str | os.PathLike = "train.csv",
) -> set[str]:
    """The groups that are val.

    It depends on the names, labels, share and seed alone. Val has one group at least, and one with
    a class if two have any. It leaves a clip in train of every class that more than one group has,
    and also of one that a single group has unless there is no other way.

    Args:
      groups: name -> the classes of each of its clips.
      classes: how many there are.
      share: of the clips, that val gets; between 0 and 1.
      seed: of the order of groups that are equally fit.
      table: that names them, for messages.

    Raises:
      UserError: there is one group only.
    """
    if len(groups) < 2:
        raise UserError(
            f"{table}: all clips are of one video, and none is left for val; name more videos, or "
            "write val.csv"
        )
    names = sorted(groups, key=lambda name: _drawn(name, seed))
    has = np.zeros((len(names), classes), np.int32)
    for row, name in enumerate(names):
        for clip in groups[name]:
            has[row, list(clip)] += 1
    deal = _Deal(has, np.array([len(groups[name]) for name in names]), share)
    deal.by_class()
    deal.fill()
    return {names[row] for row in np.flatnonzero(deal.val)}


class _Deal:
    """Groups, dealt out to train and val.

    Args:
      has: int [groups, classes], how many clips of a group have a class.
      sizes: int [groups], how many clips a group has.
      share: of val.
    """

    def __init__(self, has: np.ndarray, sizes: np.ndarray, share: float):
        self._has, self._sizes = has, sizes
        self._classes = [np.flatnonzero(row) for row in has]
        self._left = np.ones(len(sizes), bool)
        self.val = np.zeros(len(sizes), bool)
        # How many clips, of each class and of all, are still wanted in train and in val.
        shares = np.array([1 - share, share])
        self._wanted = shares[:, None] * has.sum(0)
        self._room = shares * sizes.sum()
        self._open = (has > 0).sum(0)  # groups of a class that are not dealt out
        self._stay = self._open.copy()  # groups of a class that are not val

    def by_class(self) -> None:
        """Deals out all groups that have a class, those of the rarest class first."""
        while self._open.any():
            rarest = int(np.argmin(np.where(self._open > 0, self._open, len(self._left) + 1)))
            for row in np.flatnonzero(self._left & (self._has[:, rarest] > 0)).tolist():
                train, val = self._wanted[:, rarest]
                tie = bool(val == train and self._room[1] > self._room[0])
                self._put(row, bool(val > train) or tie)

    def fill(self) -> None:
        """Deals out the others, and then gives val what it lacks, classes that it lacks first."""
        for row in np.flatnonzero(self._left).tolist():
            self._put(row, bool(self._room[1] >= self._sizes[row]))
        waiting = [(-self._lack(row), row) for row in np.flatnonzero(~self.val).tolist()]
        heapq.heapify(waiting)
        while waiting and self._room[1] >= 1:
            before, row = heapq.heappop(waiting)
            if (now := -self._lack(row)) > before:
                heapq.heappush(waiting, (now, row))
            elif self._sizes[row] < 2 * self._room[1] and self._may_go(row):
                self._move(row)
        self._score()

    def _score(self) -> None:
        """Gives val a group that has a class, so that there is something to score."""
        labelled = self._has.any(1)
        if self.val[labelled].any():
            return

        def harm(row: int) -> tuple[bool, bool, int, int]:
            own = self._classes[row]
            alone = bool(labelled[row] and labelled.sum() == 1)
            few = int((self._stay[own] < 2).sum())
            return alone, not labelled[row], few, int(self._sizes[row])

        row = min(np.flatnonzero(~self.val).tolist(), key=harm)
        alone, unlabelled, *_ = harm(row)
        if not self.val.any() or not (alone or unlabelled):
            self._move(row)

    def _put(self, row: int, to_val: bool) -> None:
        self._left[row] = False
        self._open[self._classes[row]] -= 1
        self._count(row, train=1)
        if to_val and self._may_go(row):
            self._move(row)

    def _move(self, row: int) -> None:
        """Takes a group from train and gives it to val."""
        self.val[row] = True
        self._stay[self._classes[row]] -= 1
        self._count(row, train=-1)
        self._count(row, val=1)

    def _count(self, row: int, train: int = 0, val: int = 0) -> None:
        signs = np.array([train, val])
        self._wanted -= signs[:, None] * self._has[row]
        self._room -= signs * self._sizes[row]

    def _may_go(self, row: int) -> bool:
        """Whether train keeps a group, and every class of this one, if it goes."""
        return bool((self._stay[self._classes[row]] > 1).all() and (~self.val).sum() > 1)

    def _lack(self, row: int) -> float:
        """How much val lacks the classes of a group."""
        return float(self._wanted[1, self._classes[row]].max(initial=-1.0))


def _drawn(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
