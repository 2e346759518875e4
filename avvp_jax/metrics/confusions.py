"""Which classes are mistaken for which, and which are found in the wrong modality.

The rule. A class is missed in a segment of a modality if it is annotated there and not predicted,
and wrongly predicted if it is the other way round. What is missed was taken for what is wrongly
predicted in the same segment and modality: each missed class counts as one segment, shared equally
among these. Missed with nothing wrongly predicted counts as taken for nothing; wrongly predicted
with nothing missed, as nothing taken for that class. So every missed segment counts once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Segments = Bool[np.ndarray, "videos segments 2 classes"]


class Confusions(NamedTuple):
    """In segments, over all videos.

    Attributes:
      taken: for each modality, how much of a class (row) was taken for another (column). The last
        row and column stand for nothing.
      elsewhere: what is annotated in one modality alone, and predicted in the other. By the
        annotated modality; whether it is predicted there as well (0: instead, 1: as well); and by
        class.
    """

    taken: Float[np.ndarray, "2 classes+1 classes+1"]
    elsewhere: Int[np.ndarray, "2 2 classes"]


def confusions(pred: Segments, true: Segments) -> Confusions:
    """Counts over densely annotated videos; both arguments have one shape."""
    classes = pred.shape[-1]
    taken = np.zeros((2, classes + 1, classes + 1))
    elsewhere = np.zeros((2, 2, classes), np.int64)
    for modality in range(2):
        said, right = (x[:, :, modality].reshape(-1, classes) for x in (pred, true))
        missed, wrong = right & ~said, said & ~right
        wrongs = wrong.sum(axis=1)
        shares = wrong / np.maximum(wrongs, 1)[:, None]
        taken[modality, :-1, :-1] = missed.T.astype(float) @ shares
        taken[modality, :-1, -1] = missed[wrongs == 0].sum(axis=0)
        taken[modality, -1, :-1] = wrong[~missed.any(axis=1)].sum(axis=0)
        alone = true[:, :, modality] & ~true[:, :, 1 - modality] & pred[:, :, 1 - modality]
        for also in (False, True):
            found = alone & (pred[:, :, modality] == also)
            elsewhere[modality, int(also)] = found.sum(axis=(0, 1))
    return Confusions(taken, elsewhere)
