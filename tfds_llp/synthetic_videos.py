"""Synthetic videos: mp4 files of moving shapes and of sounds, and plain features of them.

python -m tfds_llp.synthetic_videos --out FOLDER [--seed N] [--videos N]
python -m tfds_llp.synthetic_videos --clip FILE.mp4 [--seconds 35] [--seed N]

The first writes FOLDER/videos/ID.mp4 and the annotation files AVVP_*.csv, val and test with a
seventh of the videos each. The second writes a video of any length that is in no data set, and
FILE.truth.csv, a table of its events: modality (audio, visual), onset, offset, event_labels.
"""

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avvp_jax.encoders.extractor import Extractor
from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.media.frames import DIRECT
from avvp_jax.media.opening import library
from avvp_jax.media.workers import cores, read_all
from avvp_jax.runtime import preemption
from avvp_jax.storage.writing import on_cloud
from avvp_jax.streams import STREAM_SETS, streams_of
from avvp_jax.task import MODALITIES, SYNTHETIC_VIDEOS
from tfds_llp.annotation_files import DENSE_COLUMNS, event_rows, write_annotations
from tfds_llp.annotations import FILES
from tfds_llp.csv_tables import write_table
from tfds_llp.flags import OneLineParser
from tfds_llp.studio import filmed
from tfds_llp.synthetic import SyntheticVideo
from tfds_llp.synthetic_clips import Clip

SIZES = {"train": 400, "val": 80, "test": 80}
"""Videos per split."""

EXTRACTOR = Extractor(streams_of(STREAM_SETS["plain"], {}), SYNTHETIC_VIDEOS)
WANTED = EXTRACTOR.wanted(DIRECT)
_LABELS = ("weak_label", "audio_label", "visual_label", "audio_pseudo_label", "visual_pseudo_label")


def clips(seed: int, sizes: Mapping[str, int] = SIZES) -> dict[str, list[Clip]]:
    """The clips of each split. A clip depends on seed, split and index, not on the sizes."""
    return {split: [Clip(seed, split, n) for n in range(size)] for split, size in sizes.items()}


def videos(clips: Sequence[Clip], folder: Path) -> Iterator[SyntheticVideo]:
    """Makes the files of clips, reads them, and removes them again.

    Args:
        clips: as long as the task's.
        folder: for the files, while they are needed.

    Yields:
        The video of each clip in order, with plain features.

    Raises:
        UserError: a package of the extra `video` is missing, or a file cannot be written.
    """
    workers = cores()
    with (
        contextlib.closing(filmed(clips, folder, workers)) as paths,
        contextlib.closing(read_all(paths, WANTED, workers=workers)) as read,
    ):
        made = EXTRACTOR.features(read)
        for clip in clips:
            (window, streams), (end, _) = next(made), next(made)  # a clip has one window
            if problem := window.problem or end.problem:
                raise problem
            labels = {name: getattr(clip, name) for name in _LABELS}
            yield SyntheticVideo(clip.id, clip.filename, streams, **labels)
            Path(window.path).unlink()


def write_published_layout(folder: Path, seed: int, sizes: Mapping[str, int] = SIZES) -> None:
    """Writes the clips as folder/videos/ID.mp4, and the annotation files below `folder`.

    Files of videos that are there already are kept, so that it goes on after an interruption.

    Raises:
        UserError: annotation files are there already, or the folder cannot be written.
    """
    if there := [name for name in FILES if os.path.lexists(folder / name)]:
        raise UserError(f"{folder}: holds {first_ten(there)} already; choose another folder")
    made = clips(seed, sizes)
    every = list(itertools.chain(*made.values()))
    try:
        (folder / "videos").mkdir(parents=True, exist_ok=True)
        with contextlib.closing(filmed(every, folder / "videos", cores())) as paths:
            for _ in tqdm(paths, "Making videos", len(every), unit=" videos", mininterval=1.0):
                pass
        write_annotations(folder, made, SYNTHETIC_VIDEOS)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({cause(error)})") from error


def write_clip(path: Path, seed: int, seconds: int) -> Clip:
    """Writes a video that is in no data set, and its events beside it.

    Raises:
        UserError: one of the files is there already, or cannot be written.
    """
    truth = path.with_suffix(".truth.csv")
    if path.suffix != ".mp4":
        raise UserError(f"{path}: the name of a video must end in .mp4")
    if there := [str(each) for each in (path, truth) if os.path.lexists(each)]:
        raise UserError(f"{first_ten(there)}: there already; choose another name")
    clip = Clip(seed, "new", 0, seconds)
    clip.film(path)
    rows = []
    for modality in MODALITIES:
        labels = getattr(clip, f"{modality}_label")
        rows += [(modality, *row[1:]) for row in event_rows(path.stem, labels, SYNTHETIC_VIDEOS)]
    try:
        write_table(truth, ("modality", *DENSE_COLUMNS[1:]), rows)
    except OSError as error:
        raise UserError(f"{truth}: cannot be written ({cause(error)})") from error
    return clip


def _sizes(videos: int) -> dict[str, int]:
    few = videos // 7 or 1
    return {"train": videos - 2 * few, "val": few, "test": few}


def _place(path: str) -> Path:
    if on_cloud(path):
        raise argparse.ArgumentTypeError(f"{path}: must be on this machine")
    return Path(os.path.expanduser(path))


def _main() -> None:
    parser = OneLineParser(
        prog="python -m tfds_llp.synthetic_videos", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=_place, help="folder for a data set")
    parser.add_argument("--videos", type=int, help=f"how many; {sum(SIZES.values())} if not given")
    parser.add_argument("--clip", type=_place, help="mp4 file for one video")
    parser.add_argument("--seconds", type=int, help="its length; 35 if not given")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if (given.out is None) == (given.clip is None):
        raise UserError("give either --out FOLDER or --clip FILE.mp4")
    for flag, other in (("videos", "clip"), ("seconds", "out")):
        if getattr(given, flag) is not None and getattr(given, other) is not None:
            raise UserError(f"--{flag} does not go with --{other}")
    for flag, least in (("seed", 0), ("videos", 3), ("seconds", 1)):
        value = getattr(given, flag)
        if value is not None and value < least:
            raise UserError(f"--{flag} must be a whole number from {least}, not {value}")
    library("av")
    if given.clip:
        clip = write_clip(given.clip, given.seed, given.seconds or 35)
        names = [SYNTHETIC_VIDEOS.classes[index] for index in np.flatnonzero(clip.weak_label)]
        print(f"{given.clip}: {clip.seconds} s with {', '.join(names)}")
    else:
        sizes = _sizes(given.videos) if given.videos else SIZES
        write_published_layout(given.out, given.seed, sizes)
        print(
            f"{given.out}: {', '.join(f'{size} {split}' for split, size in sizes.items())} videos"
        )


def main() -> None:
    preemption.watch()
    try:
        _main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
