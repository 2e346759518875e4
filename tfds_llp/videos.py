"""The videos of one split as arrays, ready to be written."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from avvp_jax.streams import PSEUDO_LABELS, STREAMS, pool_to_segments
from avvp_jax.task import LLP, Task
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.configs import LlpConfig
from tfds_llp.filed_rows import FiledRows, Read, Row


@dataclass(frozen=True)
class Videos:
    """The annotations, features (by stream) and pseudo labels (by modality) of some videos.

    Pseudo labels are 0 or 1, and zero if there are none. Frames that are kept are not in memory.
    """

    labels: AnnotatedVideos
    streams: dict[str, Float[np.ndarray, "videos segments _"] | FiledRows]
    pseudo_labels: dict[str, UInt8[np.ndarray, "videos segments classes"]]

    @classmethod
    def allocate(cls, labels: AnnotatedVideos, config: LlpConfig) -> "Videos":
        """Allocates features and pseudo labels, filled with zeros."""
        segments, classes = (len(labels.ids), config.task.segments), len(config.task.classes)
        streams = {}
        for stream in config.features:
            shape = config.task.segments, stream.segment_width(config.task)
            if stream.keeps_frames:
                streams[stream.name] = FiledRows(labels.ids, shape, stream.dtype)
            else:
                streams[stream.name] = np.zeros((len(labels.ids), *shape), stream.dtype)
        return cls(
            labels,
            streams,
            {name: np.zeros((*segments, classes), np.uint8) for name in PSEUDO_LABELS},
        )

    @classmethod
    def collect(cls, videos: Iterable, streams: tuple[str, ...], task: Task = LLP) -> "Videos":
        """Stacks synthetic videos, with their features averaged to segments."""
        labels = {name: [] for name in ("id", "filename", "weak", "audio", "visual")}
        features = {name: [] for name in streams}
        pseudo_labels = {name: [] for name in PSEUDO_LABELS}
        for video in videos:
            labels["id"].append(video.id)
            labels["filename"].append(video.filename)
            labels["weak"].append(video.weak_label)
            labels["audio"].append(video.audio_label)
            labels["visual"].append(video.visual_label)
            pseudo_labels["audio"].append(video.audio_pseudo_label)
            pseudo_labels["visual"].append(video.visual_pseudo_label)
            for name in streams:
                features[name].append(
                    pool_to_segments(STREAMS[name], task, video.streams[STREAMS[name].encoded])
                )
        weak, audio, visual = (
            np.array(labels[name], np.uint8) for name in ("weak", "audio", "visual")
        )
        return cls(
            AnnotatedVideos(
                labels["id"], labels["filename"], weak, audio, visual, np.arange(len(weak))
            ),
            {name: np.stack(features.pop(name)) for name in streams},
            {name: np.array(stack, np.uint8) for name, stack in pseudo_labels.items()},
        )

    def __len__(self) -> int:
        return len(self.labels.ids)

    @property
    def nbytes(self) -> int:
        return sum(features.nbytes for features in self.streams.values())

    def put(self, row: int, stream: str, features: Row, read: Read) -> None:
        """Sets the features of a video.

        Args:
            read: reads them again, where they are not to be in memory.
        """
        rows = self.streams[stream]
        if isinstance(rows, FiledRows):
            rows.put(row, features, read)
        else:
            rows[row] = features

    def digest(self) -> str:
        """A digest of names, labels and features: equal content has equal digests."""
        labels = self.labels
        arrays = [labels.weak_label, labels.audio_label, labels.visual_label]
        arrays += [x for x in (labels.lengths, labels.dense) if x is not None]
        for by_name in (self.pseudo_labels, self.streams):
            arrays += [by_name[name] for name in sorted(by_name)]
        arrays = [x.digests if isinstance(x, FiledRows) else x for x in arrays]
        digest = hashlib.sha256(repr([labels.ids, labels.filenames]).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def mask_pseudo_labels(self) -> dict[str, int]:
        """Removes pseudo labels of classes that the weak label lacks.

        Returns:
            Modality -> how many were removed.
        """
        masked = {}
        for modality, labels in self.pseudo_labels.items():
            before = int(labels.sum())
            labels &= self.labels.weak_label[:, None, :]
            masked[modality] = before - int(labels.sum())
        return masked

    def examples(self, rows: range, densely_labelled: bool) -> Iterator[tuple[int, dict]]:
        """Yields (row, example) for each of `rows`, with the features that the builder declares."""
        labels = self.labels
        for row in rows:
            own = {} if labels.lengths is None else {"segments": labels.lengths[row]}
            dense = densely_labelled and (labels.dense is None or bool(labels.dense[row]))
            yield (
                row,
                own
                | {
                    "id": labels.ids[row],
                    "filename": labels.filenames[row],
                    "csv_row": labels.csv_row[row],
                    "weak_label": labels.weak_label[row],
                    "densely_labelled": dense,
                    "audio_label": labels.audio_label[row],
                    "visual_label": labels.visual_label[row],
                    "audio_pseudo_label": self.pseudo_labels["audio"][row],
                    "visual_pseudo_label": self.pseudo_labels["visual"][row],
                    **{name: features[row] for name, features in self.streams.items()},
                },
            )
