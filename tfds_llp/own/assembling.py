"""Makes arrays of a folder of one's own: labels, and features of clips of any length."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.feature_files import read_clip, read_pseudo_labels
from avvp_jax.storage.left_behind import own_names
from avvp_jax.storage.names import normal
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import Task
from tfds_llp.configs import LlpConfig
from tfds_llp.filed_rows import Row
from tfds_llp.folder import read_rows
from tfds_llp.own.clips import Clip, cut_of
from tfds_llp.own.reading import OwnData, with_lengths
from tfds_llp.videos import Videos

# subfolder -> clip -> its file.
Stored = Mapping[str, Mapping[str, Path]]


@dataclasses.dataclass(frozen=True)
class Assembled:
    """A folder of one's own as arrays.

    Attributes:
        videos: by split.
        pseudo_labels: whether all clips have labels by both teachers.
        left_out: names of clips that lack features.
        annotated: how many clips the tables name, by split.
    """

    videos: dict[str, Videos]
    pseudo_labels: bool
    left_out: list[str]
    annotated: dict[str, int]


def stored_in(folder: Path, subfolders: Iterable[str]) -> Stored:
    """The feature files in subfolders, by the names of their clips."""
    found = {}
    for subfolder in subfolders:
        names = (name for name in own_names(folder / subfolder) if name.endswith(".npy"))
        found[subfolder] = {
            normal(name.removesuffix(".npy")): folder / subfolder / name for name in names
        }
    return found


def lacking(own: OwnData, subfolders: Iterable[str]) -> dict[str, list[str]]:
    """The clips that lack files, and in which subfolders."""
    stored = stored_in(own.folder, subfolders)
    found = {name: [x for x, files in stored.items() if name not in files] for name in own.clips}
    return {name: places for name, places in found.items() if places}


def assemble(own: OwnData, config: LlpConfig, allow_missing_features: bool) -> Assembled:
    """Reads the features of all clips, and sets how long each is.

    Raises:
        UserError: features are missing and that is not allowed, or are damaged; a split has no
            clip with features; an event is beyond the end of its clip.
    """
    annotated = {split: len(videos.ids) for split, videos in own.splits.items()}
    without = lacking(own, [stream.folder for stream in config.features])
    if without:
        _check_missing(own, without, allow_missing_features)
    labelled = not lacking(own, PSEUDO_LABELS.values()).keys() - without.keys()
    kept = {
        split: labels.keep([name not in without for name in labels.ids])
        for split, labels in own.splits.items()
    }
    videos = {split: Videos.allocate(labels, config) for split, labels in kept.items()}
    lengths = _read(own, videos, config, labelled)
    labels = with_lengths(own, lengths).splits
    for split, each in videos.items():
        counts = np.array([lengths[name] for name in each.labels.ids], np.int64)
        own_labels = dataclasses.replace(labels[split], lengths=counts)
        videos[split] = dataclasses.replace(each, labels=own_labels)
    return Assembled(videos, labelled, list(without), annotated)


def _check_missing(own: OwnData, without: Mapping[str, list[str]], allowed: bool) -> None:
    files = [f"{places[0]}/{name}.npy" for name, places in without.items()]
    if not allowed:
        raise UserError(
            f"{own.folder}: {len(without)} of {len(own.clips)} clips lack features: "
            f"{first_ten(files)}; extract_report.csv there says what failed; mend their videos, or "
            "leave them out with --config.data.allow_missing_features=True"
        )
    for split, videos in own.splits.items():
        if set(videos.ids) <= without.keys():
            raise UserError(
                f"{own.folder}: no {split} clip has all its features; missing: {first_ten(files)}"
            )


def _read(
    own: OwnData, videos: Mapping[str, Videos], config: LlpConfig, labelled: bool
) -> dict[str, int]:
    """Fills the arrays; returns the segments of each clip."""
    subfolders = [stream.folder for stream in config.features]
    stored = stored_in(own.folder, [*subfolders, *PSEUDO_LABELS.values()])
    lengths: dict[str, int] = {}

    def read(of_split: Videos, row: int) -> list[str]:
        name = of_split.labels.ids[row]
        paths = {stream.name: stored[stream.folder][name] for stream in config.features}
        file = name
        try:
            likely = likely_segments(own.clips[name], config.task)
            lengths[name], features = read_clip(paths, config.features, config.task, likely)
            for stream, rows in features.items():
                again = functools.partial(_row, stream, paths, config, likely)
                of_split.put(row, stream, rows, again)
            for modality, subfolder in PSEUDO_LABELS.items() if labelled else ():
                file, path = f"{subfolder}/{name}.npy", stored[subfolder][name]
                made = read_pseudo_labels(path, config.task, lengths[name])
                of_split.pseudo_labels[modality][row] = made
        except DamagedFile as problem:
            return [str(problem) if file == name else f"{file} {problem}"]
        return []

    rows = [(each, row) for each in videos.values() for row in range(len(each))]
    read_rows(own.folder, rows, read, "extract them again, or correct them")
    return lengths


def _row(stream: str, paths: Mapping[str, Path], config: LlpConfig, likely: int | None) -> Row:
    """The features of one stream of a clip."""
    return read_clip(paths, config.features, config.task, likely)[1][stream]


def likely_segments(clip: Clip, task: Task) -> int | None:
    """How many segments a clip should have by its name or its times; None if they do not say."""
    parts = cut_of(clip.name) if clip.seconds is None else None
    seconds = parts[2] - parts[1] if parts else clip.seconds
    return task.segments_in(seconds) if seconds and seconds > 0 else None
