"""Has CLIP and CLAP label the segments of videos with any classes, by their names.

  python -m tfds_llp.teach --videos DIR --classes classes.csv --out DATA [--weights_dir DIR]

classes.csv has a column name and may have visual_prompt, audio_prompt, visual_threshold and
audio_threshold. For each video DIR/ID.mp4 (or another kind of file) it writes

  DATA/{CLIP,CLAP}/segment_logits/ID.npy         float32 [segments, classes]
  DATA/{CLIP,CLAP}/segment_pseudo_labels/ID.npy  int64, 1 where a logit is above its threshold
  DATA/taught_classes.csv                        the classes with the thresholds that were used

A prompt that is left out is "A photo of NAME." or "This is a sound of NAME". Several of a class are
apart by "|". A threshold that is left out, or "auto", is found: as many segments of these videos
are above it as --prior says, whatever they show.
"""

import argparse
import dataclasses
import os
from collections.abc import Iterable, Mapping

import numpy as np

from avvp_jax.encoders.classes import classes_text, read_classes, unknown_thresholds
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.errors import UserError, one_line
from avvp_jax.runtime import commands, processes
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.storage.writing import write_whole
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import Task
from tfds_llp.flags import OneLineParser, add_extraction, carry_out, how_to_extract, task_of

PROGRAM = "tfds_llp.teach"
TAUGHT = "taught_classes.csv"


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--classes", required=True, help="the csv file of the classes")
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument(
        "--prior", type=float, default=0.05, help="share of segments that have a class"
    )
    add_extraction(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Teaches as the arguments say; returns the exit code."""
    from tfds_llp.extract_labels import label  # here, because they are slow
    from tfds_llp.extract_report import cannot_be_written
    from tfds_llp.extraction import extract

    if not 0 < args.prior < 1:
        raise UserError(f"--prior={args.prior}: must be between 0 and 1")
    how, task = how_to_extract(args), task_of(args)
    names, teachers = read_classes(os.path.expanduser(args.classes))
    out = os.path.expanduser(args.out)
    refuse_others(out)
    refuse_differences({"--classes": classes_text(names, teachers), "--prior": args.prior})

    def finish(named: Mapping[str, str], mine: Mapping[str, str]) -> None:
        processes.meet()  # thresholds are of the logits of all
        found = {
            modality: with_thresholds(out, named, teacher, task, args.prior)
            for modality, teacher in teachers.items()
        }
        path = os.path.join(out, TAUGHT)
        if processes.first():  # before labels: it says whose they are
            try:
                write_whole(path, classes_text(names, found).encode())
            except OSError as error:
                raise cannot_be_written(path, error) from error
        processes.meet()
        anything = np.ones(len(names), np.uint8)
        for teacher in found.values():
            for video in mine:
                label(out, video, teacher, task, anything)
        if processes.first():
            auto = unknown_thresholds(names, teachers)
            said = f"{path}: the thresholds that were used"
            said += f"; those of auto have about {args.prior:g} of all segments above" * bool(auto)
            print(one_line(said), flush=True)

    videos = os.path.expanduser(args.videos)
    failed = extract(videos, out, (), task, teachers=teachers, finish=finish, **how)
    return commands.USER_ERROR if failed and not args.allow_failures else 0


def refuse_others(data: str) -> None:
    """Checks that labels in a folder, if there are any, are those of this command.

    Raises:
      UserError: they are not, as VALOR's.
    """
    if os.path.lexists(os.path.join(data, TAUGHT)):
        return
    for folder in (os.path.join(data, each) for each in PSEUDO_LABELS.values()):
        if os.path.isdir(folder) and any(name.endswith(".npy") for name in os.listdir(folder)):
            raise UserError(
                f"{folder}: holds labels that were made otherwise; choose another folder for --out"
            )


def with_thresholds(
    data: str, named: Iterable[str], teacher: Teacher, task: Task, prior: float
) -> Teacher:
    """A teacher whose unknown thresholds are quantiles of its logits of all segments.

    Args:
      data: holds the logits of videos.
      named: the videos; those without logits do not count.
      prior: the share of segments above a threshold.
    """
    from tfds_llp.extract_labels import read_logits  # here, because it is slow

    unknown = np.isnan(teacher.thresholds)
    if not unknown.any():
        return teacher
    found = [read_logits(data, name, teacher, task) for name in named]
    found = [logits for logits in found if logits is not None]
    if not found:
        return teacher
    quantiles = np.quantile(np.concatenate(found).astype(np.float64), 1 - prior, axis=0)
    thresholds = np.where(unknown, quantiles, teacher.thresholds)
    return dataclasses.replace(teacher, thresholds=tuple(map(float, thresholds)))


if __name__ == "__main__":
    carry_out(PROGRAM, arguments(), run)
