"""Writes a published data set as a folder of one's own."""

import csv
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from avvp_jax.errors import UserError, cause
from avvp_jax.media.folders import name_of, videos_in
from avvp_jax.task import MODALITIES
from tfds_llp.annotation_files import DENSE_COLUMNS
from tfds_llp.annotations import DENSELY_LABELLED
from tfds_llp.csv_tables import write_table
from tfds_llp.own.cuts import LabelledClip, as_seconds
from tfds_llp.own.published import Published, remark

CLASSES = "classes.csv"
VIDEOS = "videos"


def write_own(out: Path, data: Published, videos: Path | None) -> list[str]:
    """Writes classes.csv, a csv file for each split and two of dense labels, or nothing.

    Dense labels are those of val and test. Weak labels say which events a clip has.

    Args:
        videos: a folder, to which `out`/videos becomes a link; None makes no link.

    Returns:
        Remarks about the videos, a line each.

    Raises:
        UserError: `out` is there already, `videos` is no folder of videos, or `out` cannot be
            written.
    """
    if os.path.lexists(out):
        raise UserError(f"{out}: is there already; choose another folder")
    remarks = [] if videos is None else _remarks(data.splits, videos)
    partial = out.parent / f".{out.name}.{os.getpid()}.tmp"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        try:
            _write_files(partial, data)
            if videos is not None:
                (partial / VIDEOS).symlink_to(videos.resolve(), target_is_directory=True)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({cause(error)})") from error
    return remarks


def _remarks(splits: Mapping[str, Iterable[LabelledClip]], folder: Path) -> list[str]:
    there = {name_of(path) for path in videos_in(folder)}
    wanted = dict.fromkeys(clip.video for clips in splits.values() for clip in clips)
    return [
        *remark(f"videos have no file in {folder}", [v for v in wanted if v not in there]),
        *remark(f"files in {folder} belong to no video", sorted(there - set(wanted))),
    ]


def _write_files(folder: Path, data: Published) -> None:
    with (folder / CLASSES).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["name"], *([x] for x in data.classes)])
    parts = any(clip.start is not None for clips in data.splits.values() for clip in clips)
    columns = ("filename", *(("start", "end") if parts else ()), "event_labels")
    dense = []
    for split, clips in data.splits.items():
        write_table(folder / f"{split}.csv", columns, [_row(c, data.classes) for c in clips])
        if split in DENSELY_LABELLED:
            dense += [row for clip in clips for row in _dense_rows(clip)]
    for modality in MODALITIES:
        write_table(folder / f"dense_{modality}.csv", DENSE_COLUMNS, dense)


def _row(clip: LabelledClip, classes: Iterable[str]) -> tuple[str, ...]:
    inside = {event.label for event in clip.events}
    part = () if clip.start is None else (as_seconds(clip.start), as_seconds(clip.end))
    return clip.video, *part, ",".join(name for name in classes if name in inside)


def _dense_rows(clip: LabelledClip) -> Iterable[tuple[str, ...]]:
    if not clip.events:  # that nothing occurs is a dense label too
        yield clip.name, "", "", ""
    for e in sorted(clip.events, key=lambda e: (e.onset, e.offset, e.label)):
        yield clip.name, as_seconds(e.onset), as_seconds(e.offset), e.label
