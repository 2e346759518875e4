"""How good teachers' labels of segments are."""

from collections.abc import Mapping, Sequence

import numpy as np

from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.metrics.scores import per_class, scores
from avvp_jax.reports.class_tables import ClassTable
from avvp_jax.task import MODALITIES


def teachers_table(
    classes: Sequence[str],
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    modalities: Sequence[str] = MODALITIES,
) -> ClassTable:
    """A table of teachers' segment-level F-scores, for each class and averaged over videos.

    Args:
      classes: names of the classes.
      splits: name -> pseudo labels and dense labels, each [videos, segments, 2, classes].
      modalities: of the teachers to score.
    """
    columns, means = {}, {}
    for name, (pseudo, truth) in splits.items():
        by_class, over_videos = per_class(pseudo > 0, truth > 0), scores(pseudo > 0, truth > 0)
        for modality in modalities:
            column = f"{name} {TEACHERS[modality].name}"
            columns[column] = by_class[f"segment/{modality}"]
            means[column] = over_videos[f"segment/{modality}"]
    caption = (
        "How well the teachers' labels of single segments, from which the parser learns, agree "
        "with the annotations of held-out videos: the F-score of each class, in percent. 100 means "
        "no miss and no false alarm; a dash, that the class does not occur there."
    )
    return ClassTable(
        "teachers' segment F, percent",
        caption,
        classes,
        columns,
        ".1f",
        "mean over videos",
        list(means.values()),
    )
