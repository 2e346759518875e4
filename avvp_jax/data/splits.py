"""Splits of a data set as arrays, which training, validation and prediction read."""

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from avvp_jax.data.examples import WAY_OUT, read_examples
from avvp_jax.data.features import ResidentFeatures, SplitFeatures, StoredFeatures
from avvp_jax.errors import UserError, damaged_data
from avvp_jax.storage.names import no_name
from avvp_jax.streams import DataSpec
from avvp_jax.task import MODALITIES, Task

# Videos decoded at once while a split is read; bounds the host memory that they take.
_VIDEOS_AT_ONCE = 256

# Bytes of a name, which is used as that of files; published ones end in times beside.
_LONGEST_NAME = 240


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a data set, on the host; videos are in csv order.

    Attributes:
      name: "train", "val", "test" or "features".
      ids: YouTube ids, which name the files of features; the whole filename of a video that
        shares its YouTube id with another.
      filenames: id_start_end, as the annotation files name videos.
      spec: the task, and the streams of the features.
      csv_row: int [videos], the videos' rows in the split's csv; None without a csv.
      features: `audio`, `visual`, `snippet`, in memory or on disk.
      weak_label: float32 [videos, classes]; None without annotations.
      truth: uint8 [videos, segments, 2, classes], the dense annotations; None without them.
      dense: bool [videos], which videos have dense annotations; None if it is all, or none.
      lengths: int [videos], how many segments each clip has; None if all have the task's. What is
        in arrays behind them is zero, and means nothing.
      pseudo_label: uint8 [videos, segments, 2, classes], labels by VALOR's teachers; None
        if the data was prepared without them.
      left_out: how many videos the whole data set leaves out for lack of features. This split
        leaves out at most as many.
      annotated: how many videos the split's csv names; None if it is not known.
    """

    name: str
    ids: list[str]
    filenames: list[str]
    spec: DataSpec
    features: SplitFeatures
    csv_row: Int[np.ndarray, " videos"] | None = None
    weak_label: Float[np.ndarray, "videos classes"] | None = None
    truth: UInt8[np.ndarray, "videos segments 2 classes"] | None = None
    pseudo_label: UInt8[np.ndarray, "videos segments 2 classes"] | None = None
    dense: Bool[np.ndarray, " videos"] | None = None
    lengths: Int[np.ndarray, " videos"] | None = None
    left_out: int = 0
    annotated: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def task(self) -> Task:
        """The classes and segments of the arrays."""
        return self.spec.task

    @property
    def truth_digest(self) -> str:
        """Digits that are equal for splits of the same videos with the same annotations.

        Those are the dense ones, and where some videos have none, also the weak ones.
        """
        whole = self.truth is not None and self.dense is None
        arrays = [x for x in (self.truth, self.dense, self.weak_label) if x is not None]
        arrays = arrays[:1] if whole else arrays
        shape = arrays[0].shape
        digest = hashlib.sha256(repr([self.filenames, shape]).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array > 0))
        return digest.hexdigest()[:16]

    @property
    def dense_rows(self) -> Int[np.ndarray, " rows"] | slice:
        """The rows of the videos with dense annotations; a slice of all where all have them."""
        if self.truth is None:
            return np.arange(0)
        return slice(None) if self.dense is None else np.flatnonzero(self.dense)

    @property
    def dense_videos(self) -> int:
        """How many videos have dense annotations."""
        return len(np.arange(len(self))[self.dense_rows])


def load_split(builder, name: str, spec: DataSpec, stored: bool = False) -> Split:
    """Reads a split of a prepared data set; if `stored`, its features stay on disk.

    Raises:
      UserError: the data set has no such split, the split has no video, or it is damaged.
    """
    if name not in builder.info.splits:
        known = ", ".join(builder.info.splits)
        raise UserError(f"config.eval.splits names {name!r}; the data set has {known}")
    source = builder.as_data_source(name)
    if not len(source):
        raise UserError(f"split {name} of {builder.info.full_name} has no videos; prepare it anew")
    by_segment = [f"{m}_{kind}" for kind in ("label", "pseudo_label") for m in MODALITIES]
    kept = {} if stored else {role: stream.name for role, stream in spec.roles.items()}
    short = ["segments"] if "segments" in builder.info.features else []
    columns = _stack(source, ["csv_row", "weak_label", *by_segment, *kept.values(), *short])
    labels = ["weak_label", *by_segment]
    if reason := _invalid_content(columns, labels, kept.values()):
        raise damaged_data(builder.data_dir, f"{name} {reason}", WAY_OUT)
    known = dict(builder.info.metadata.items())  # by items(), because TFDS loads them lazily
    complete = None if known["left_out"] else len(source)
    dense, lengths = columns["densely_labelled"], columns.get("segments")
    if lengths is not None and (lengths == spec.task.segments).all():
        lengths = None
    truth, pseudo_label = (
        np.stack([columns[f"{m}_{kind}"] for m in MODALITIES], axis=2)
        for kind in ("label", "pseudo_label")
    )
    if stored:
        features = StoredFeatures(source, spec)
    else:
        features = ResidentFeatures({role: columns[stream] for role, stream in kept.items()})
    return Split(
        name=name,
        ids=columns["id"],
        filenames=columns["filename"],
        spec=spec,
        features=features,
        csv_row=columns["csv_row"],
        weak_label=columns["weak_label"].astype(np.float32),
        truth=truth if dense.any() else None,
        dense=None if dense.all() or not dense.any() else dense,
        lengths=lengths,
        pseudo_label=pseudo_label if known["pseudo_labels"] else None,
        left_out=len(known["left_out"]),
        annotated=known.get("annotated", {}).get(name, complete),
    )


def _invalid_content(columns: dict, labels: list[str], streams: Iterable[str]) -> str | None:
    """What is wrong with the content of a split whose files are intact; None if nothing is."""
    for name in labels:
        if columns[name].max() > 1:
            return f"has labels in {name} that are not 0 or 1"
    for name in streams:
        if not np.isfinite(columns[name]).all():
            return f"has NaN or infinity in {name}"
    if any(no_name(name, _LONGEST_NAME) for name in columns["id"] + columns["filename"]):
        return "has names that no video can have"
    lengths, longest = columns.get("segments"), columns["audio_label"].shape[1]
    if lengths is not None and not ((lengths > 0) & (lengths <= longest)).all():
        return "has clips without segments, or with more than the task has"
    return None if len(set(columns["id"])) == len(columns["id"]) else "names a video twice"


def _stack(source, names: list[str]) -> dict:
    """Reads a data source by columns: arrays for `names`, lists of str for id and filename."""
    columns, texts = {}, {"id": [], "filename": []}
    names = [*names, "densely_labelled"]
    for start in range(0, len(source), _VIDEOS_AT_ONCE):
        rows = range(start, min(start + _VIDEOS_AT_ONCE, len(source)))
        for row, example in zip(rows, read_examples(source, rows), strict=True):
            for name in texts:
                texts[name].append(example[name].decode(errors="replace"))
            for name in names:
                value = np.asarray(example[name])
                if name not in columns:
                    columns[name] = np.empty((len(source), *value.shape), value.dtype)
                columns[name][row] = value
    return columns | texts
