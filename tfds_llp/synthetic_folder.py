"""A made-up folder of one's own: videos of coloured squares and of tones, with any classes.

python -m tfds_llp.synthetic_folder --out DATA [--classes 7] [--videos 140] [--segments 10]
    [--segment_seconds 1] [--any_length] [--dense] [--seed 0]
python -m tfds_llp.synthetic_folder --clip FILE.mp4 [--classes 7] [--seconds 35] [--seed 0]

The first writes DATA/videos/NAME.mp4, classes.csv and train.csv, val.csv and test.csv, with a
seventh of the videos each in the last two; with --dense also the times of their events. The second
writes a video that is in no such folder, and FILE.truth.csv, its events.
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from avvp_jax.errors import UserError, cause
from avvp_jax.runtime import preemption
from avvp_jax.task import MODALITIES, MOST_SEGMENTS
from tfds_llp.annotation_files import DENSE_COLUMNS
from tfds_llp.flags import OneLineParser
from tfds_llp.video_files import write_video

# The middles of the sixteen parts of a colour's cube along each side that are not grey.
_STEPS = (32, 96, 160, 224)
_COLOURS = [(r, g, b) for r in _STEPS for g in _STEPS for b in _STEPS if not r == g == b]
MOST_CLASSES = len(_COLOURS)
WIDTH, HEIGHT, FRAMES, RATE = 96, 96, 8, 16_000  # pixels; frames and samples a second
_CELLS = 3  # along each side of a picture; what is seen fills one
_TONES = (150.0, 6000.0)  # Hz, of the first and the last class
_LOUDNESS, _NOISE, _GRAIN = 0.1, 0.01, 12.0
_SCENE = 10.0  # seconds of a long video in which a few classes occur
_HEARD_ONLY, _SEEN_ONLY = 0.1, 0.1


@dataclass(frozen=True)
class Happening:
    """An event: a class that is heard or seen for some time, in seconds."""

    modality: str
    index: int
    onset: float
    offset: float


def class_names(number: int) -> list[str]:
    """Names of so many classes."""
    return [f"Thing {index + 1}" for index in range(number)]


def happenings(rng: np.random.Generator, seconds: float, classes: int) -> list[Happening]:
    """Draws what happens in a video: in each scene one to three classes, heard, seen or both."""
    found, scenes = [], max(1, round(seconds / _SCENE))
    length = seconds / scenes
    for scene in range(scenes):
        for index in rng.choice(classes, min(classes, int(rng.integers(1, 4))), replace=False):
            lasts = length if rng.random() < 0.4 else length * rng.uniform(0.3, 0.8)
            onset = scene * length + rng.uniform(0, length - lasts)
            luck, times = rng.random(), (round(onset, 1), round(onset + lasts, 1))
            kinds = MODALITIES[: 2 if luck >= _HEARD_ONLY else 1]
            kinds = kinds if luck < 1 - _SEEN_ONLY else MODALITIES[1:]
            found += [Happening(modality, int(index), *times) for modality in kinds]
    return found


def clip(
    seed: int, number: int, *, classes: int, segments: int, segment_seconds: float, any_length: bool
) -> tuple[np.random.Generator, float, list[Happening]]:
    """The clip of a number in a folder: what its file is made with, its seconds and its events."""
    rng = np.random.default_rng([seed, number])
    length = int(rng.integers(min(2, segments), segments + 1)) if any_length else segments
    seconds = length * segment_seconds
    return rng, seconds, happenings(rng, seconds, classes)


def film(
    path: Path,
    rng: np.random.Generator,
    seconds: float,
    events: Sequence[Happening],
    classes: int,
) -> None:
    """Writes the mp4 file of what happens, in which each class has its colour and its tone.

    Raises:
      UserError: it cannot be written, or PyAV is not installed.
    """
    cells = rng.permutation(_CELLS**2)
    grey = rng.uniform(70, 180)
    tones = np.geomspace(*_TONES, max(2, classes))
    colours = np.random.default_rng(0).permutation(_COLOURS)

    def parts() -> Iterator[tuple[UInt8[np.ndarray, "f h w 3"], Float32[np.ndarray, " samples"]]]:
        count = round(seconds * FRAMES)
        for start in range(0, count, FRAMES):
            frames = np.arange(start, min(start + FRAMES, count))
            times = np.arange(start * RATE // FRAMES, (frames[-1] + 1) * RATE // FRAMES) / RATE
            pictures = np.full((len(frames), HEIGHT, WIDTH, 3), grey)
            wave = _NOISE * rng.standard_normal(len(times))
            for place, event in enumerate(events):
                if event.modality == "audio":
                    there = (times >= event.onset) & (times < event.offset)
                    wave += there * _LOUDNESS * np.sin(2 * np.pi * tones[event.index] * times)
                    continue
                shown = (frames / FRAMES >= event.onset) & (frames / FRAMES < event.offset)
                row, column = divmod(int(cells[place % len(cells)]), _CELLS)
                high, wide = HEIGHT // _CELLS, WIDTH // _CELLS
                down = slice(row * high, (row + 1) * high)
                pictures[shown, down, column * wide : (column + 1) * wide] = colours[event.index]
            pictures += _GRAIN * rng.standard_normal(pictures.shape)
            yield np.clip(pictures, 0, 255).astype(np.uint8), wave.astype(np.float32)

    write_video(path, parts(), FRAMES, RATE)


def write_folder(
    out: Path,
    *,
    classes: int = 7,
    videos: int = 140,
    segments: int = 10,
    segment_seconds: float = 1.0,
    any_length: bool = False,
    dense: bool = False,
    seed: int = 0,
) -> None:
    """Writes a folder of one's own; see the module.

    Args:
      any_length: clips last from two segments to all, else all.
      dense: also writes dense_audio.csv and dense_visual.csv, of val and test.

    Raises:
      UserError: the folder is there, or cannot be written.
    """
    if os.path.lexists(out):
        raise UserError(f"{out}: is there already; choose another folder")
    few = max(1, videos // 7)
    splits = {"train": videos - 2 * few, "val": few, "test": few}
    names = class_names(classes)
    rows = {split: [] for split in splits}
    events = {modality: [] for modality in MODALITIES}
    try:
        (out / "videos").mkdir(parents=True)
        with tqdm(total=videos, desc="Making videos", unit=" videos", mininterval=1.0) as progress:
            for number, split in enumerate(np.repeat(list(splits), list(splits.values()))):
                rng, seconds, happen = clip(
                    seed,
                    number,
                    classes=classes,
                    segments=segments,
                    segment_seconds=segment_seconds,
                    any_length=any_length,
                )
                name = f"clip_{number:04}"
                film(out / "videos" / f"{name}.mp4", rng, seconds, happen, classes)
                rows[split].append((f"{name}.mp4", _listed({x.index for x in happen}, names)))
                for each in happen if split != "train" else ():
                    events[each.modality].append(_row(name, each, names))
                progress.update()
        _write(out / "classes.csv", ("name",), [(name,) for name in names])
        for split, of_split in rows.items():
            _write(out / f"{split}.csv", ("filename", "event_labels"), of_split)
        for modality, found in events.items() if dense else ():
            _write(out / f"dense_{modality}.csv", DENSE_COLUMNS, found)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({cause(error)})") from error


def write_clip(path: Path, *, classes: int = 7, seconds: float = 35.0, seed: int = 0) -> None:
    """Writes a video that is in no folder, and its events beside it.

    Raises:
      UserError: one of the files is there already, or cannot be written.
    """
    truth = path.with_suffix(".truth.csv")
    if path.suffix != ".mp4":
        raise UserError(f"{path}: the name of a video must end in .mp4")
    for each in (path, truth):
        if os.path.lexists(each):
            raise UserError(f"{each}: is there already; choose another name")
    rng = np.random.default_rng([seed, 1, 1])  # a folder's have two numbers
    events = happenings(rng, seconds, classes)
    film(path, rng, seconds, events, classes)
    names = class_names(classes)
    rows = [(each.modality, *_row(path.stem, each, names)[1:]) for each in events]
    try:
        _write(truth, ("modality", *DENSE_COLUMNS[1:]), rows)
    except OSError as error:
        raise UserError(f"{truth}: cannot be written ({cause(error)})") from error


def _listed(indices: set[int], names: Sequence[str]) -> str:
    return ",".join(names[index] for index in sorted(indices))


def _row(name: str, event: Happening, names: Sequence[str]) -> tuple:
    return name, event.onset, event.offset, names[event.index]


def _write(path: Path, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog="python -m tfds_llp.synthetic_folder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=_path, help="folder for the data set")
    parser.add_argument("--clip", type=_path, help="mp4 file for one video")
    parser.add_argument("--classes", type=int, default=7, help=f"1 to {MOST_CLASSES}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=35.0, help="of the clip")
    parser.add_argument("--videos", type=int, default=140)
    parser.add_argument("--segments", type=int, default=10, help="of a clip of the folder")
    parser.add_argument("--segment_seconds", type=float, default=1.0)
    parser.add_argument("--any_length", action="store_true", help="clips of two segments and more")
    parser.add_argument("--dense", action="store_true", help="times of events in val and test")
    return parser


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def run(args: argparse.Namespace) -> None:
    """Writes what the arguments say."""
    given = vars(args)
    out, one, seconds = (given.pop(name) for name in ("out", "clip", "seconds"))
    if (out is None) == (one is None):
        raise UserError("give either --out FOLDER or --clip FILE.mp4")
    limits = {
        "classes": (1, MOST_CLASSES),
        "videos": (3, 10**6),
        "segments": (1, MOST_SEGMENTS),
        "segment_seconds": (0.125, 3600),
        "seed": (0, 2**32),
    }
    for flag, (least, most) in limits.items():
        if not least <= given[flag] <= most:
            raise UserError(f"--{flag}={given[flag]}: must be from {least} to {most}")
    if not 1 <= seconds <= 86400:
        raise UserError(f"--seconds={seconds}: must be from 1 to 86400")
    if out is not None:
        write_folder(out, **given)
        print(f"{out}: {given['videos']} videos of {given['classes']} classes")
    else:
        write_clip(one, classes=given["classes"], seconds=seconds, seed=given["seed"])
        print(f"{one}: {seconds:g} s; its events are in {one.with_suffix('.truth.csv').name}")


def main() -> None:
    preemption.watch()
    try:
        run(arguments().parse_args())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
