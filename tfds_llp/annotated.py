"""Annotated videos: names, weak labels and dense labels, wherever they were read from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8


@dataclass(frozen=True)
class AnnotatedVideos:
    """The videos of one split in the order of the csv file; labels are 0 or 1.

    `ids` are YouTube's, or the whole filename (ID_START_END) of a video that shares its YouTube id
    with another one. `audio_label` and `visual_label` are zero for train, which has no dense
    labels. `csv_row` is a video's row below the header line, from 0; rows of videos that are left
    out are missing. `lengths` are the segments that each clip has, None if all have the task's;
    `dense` says which are densely labelled, None if it is all of val and test.
    """

    ids: list[str]
    filenames: list[str]
    weak_label: UInt8[np.ndarray, "videos classes"]
    audio_label: UInt8[np.ndarray, "videos segments classes"]
    visual_label: UInt8[np.ndarray, "videos segments classes"]
    csv_row: Int[np.ndarray, " videos"]
    lengths: Int[np.ndarray, " videos"] | None = None
    dense: Bool[np.ndarray, " videos"] | None = None

    def keep(self, kept: list[bool]) -> "AnnotatedVideos":
        """The videos where `kept` is true."""
        rows = np.flatnonzero(kept)
        return AnnotatedVideos(
            [self.ids[row] for row in rows],
            [self.filenames[row] for row in rows],
            self.weak_label[rows],
            self.audio_label[rows],
            self.visual_label[rows],
            self.csv_row[rows],
            None if self.lengths is None else self.lengths[rows],
            None if self.dense is None else self.dense[rows],
        )


@dataclass(frozen=True)
class Annotations:
    """The annotations of all splits, and a summary of the oddities in them.

    `summary` maps "FILE: oddity" to {"count": int, "examples": [str, ...]}, with up to ten
    examples. It can be stored as json.
    """

    splits: dict[str, AnnotatedVideos]
    summary: dict[str, dict]
