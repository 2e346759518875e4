"""Writes VALOR's segment pseudo labels from what a teacher says about every segment.

  python -m tfds_llp.elaborate --teacher CLIP --data DATA --logits DIR
  python -m tfds_llp.elaborate --teacher CLIP --data DATA --embeddings DATA/CLIP/features \\
      --prompt_embeddings FILE.npy --scale 100
  python -m tfds_llp.elaborate --teacher CLAP --list_prompts

DATA holds the annotation files; labels go to DATA/TEACHER/segment_pseudo_labels/ID.npy.
A segment has a class of the video's weak label if its logit, which is the scale times the
cosine of its embedding and the class's prompt, exceeds the class's threshold.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

import numpy as np

from avvp_jax.encoders.teachers import TEACHERS, Teacher
from avvp_jax.errors import UserError
from avvp_jax.methods.valor.elaboration import teachers_table
from avvp_jax.methods.valor.label_files import (
    Labels,
    ReadLogits,
    embeddings_reader,
    label_videos,
    logits_reader,
    write_labels,
)
from avvp_jax.methods.valor.prompts import read_prompt_embeddings, read_prompts, read_thresholds
from avvp_jax.runtime import preemption
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import LLP, MODALITIES
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.annotations import DENSELY_LABELLED, read_annotations
from tfds_llp.flags import OneLineParser
from tfds_llp.folder import annotations_in, stored_names

BY_NAME = {teacher.name: teacher for teacher in TEACHERS.values()}


def write_pseudo_labels(
    teacher: Teacher,
    data: Path,
    folder: Path,
    read_logits: ReadLogits,
    out: Path | None = None,
    allow_missing: bool = False,
) -> str:
    """Writes the pseudo labels of all videos, or none if there is an error.

    Args:
        teacher: its thresholds are applied, and the labels go to its folder.
        data: folder of the annotation files.
        folder: holds ID.npy for each video.
        read_logits: reads the logits of such a file.
        out: the folder to write instead of DATA/TEACHER/segment_pseudo_labels.
        allow_missing: leave out videos without a file instead of stopping.

    Returns:
        A report on the quality of the labels.

    Raises:
        UserError: annotations or a video's file are missing or damaged, or the folder
            to write exists already.
    """
    out = out or data / PSEUDO_LABELS[teacher.modality]
    if os.path.lexists(out):
        raise UserError(f"{out}: is there already; move it away, or choose another --out")
    splits = _splits(data)
    if allow_missing:
        splits = {
            name: split.keep(
                [
                    os.path.lexists(folder / f"{file}.npy")
                    for file in stored_names(folder, split, splits)
                ]
            )
            for name, split in splits.items()
        }
    videos = {
        name: (stored_names(folder, split, splits), split.weak_label)
        for name, split in splits.items()
    }
    labels = label_videos(folder, read_logits, teacher.thresholds, videos)
    write_labels(
        out,
        {
            video: label
            for name, split in splits.items()
            for video, label in zip(split.ids, labels[name], strict=True)
        },
    )
    return _report(teacher, splits, labels)


def _splits(data: Path) -> dict[str, AnnotatedVideos]:
    files = annotations_in(data)
    if files is None:
        raise UserError(
            f"{data}: {dead_link(data) or 'no AVVP_*.csv files'}; get them from folder data of "
            "github.com/YapengTian/AVVP-ECCV20 and name their folder with --data"
        )
    return read_annotations(files, LLP).splits


def _report(teacher: Teacher, splits: dict[str, AnnotatedVideos], labels: dict[str, Labels]) -> str:
    modality = MODALITIES.index(teacher.modality)
    pairs = {}
    for name in DENSELY_LABELLED:
        truth = np.stack([splits[name].audio_label, splits[name].visual_label], axis=2)
        pseudo = np.zeros_like(truth)
        pseudo[:, :, modality] = labels[name]
        pairs[name] = (pseudo, truth)
    return teachers_table(LLP.classes, pairs, [teacher.modality]).text()


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog="python -m tfds_llp.elaborate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--teacher", required=True, choices=sorted(BY_NAME))
    parser.add_argument("--data", type=Path, help="folder of the annotation files")
    parser.add_argument("--out", type=Path, help="folder to write, instead of the one in DATA")
    parser.add_argument("--logits", type=Path, help="folder of ID.npy, [10, 25]")
    parser.add_argument("--embeddings", type=Path, help="folder of ID.npy, [10, width]")
    parser.add_argument(
        "--prompt_embeddings", type=Path, help=".npy [25, width], or .npz of embedding and prompt"
    )
    parser.add_argument("--scale", type=float, help="of the cosine, the model's logit scale")
    parser.add_argument("--thresholds", type=Path, help="text file of 25 numbers, not published")
    parser.add_argument(
        "--prompts", type=Path, help="text file of 25 lines: which prompts of the .npz, or to list"
    )
    parser.add_argument("--allow_missing", action="store_true", help="leave such videos out")
    parser.add_argument("--list_prompts", action="store_true", help="show prompts and thresholds")
    return parser


def run(args: argparse.Namespace) -> str:
    """Runs the command; returns the text to print."""
    teacher = BY_NAME[args.teacher]
    refuse_idle_options(args)
    if args.thresholds:
        thresholds = tuple(read_thresholds(args.thresholds, len(LLP.classes)))
        teacher = dataclasses.replace(teacher, thresholds=thresholds)
    if args.prompts:
        prompts = tuple(read_prompts(args.prompts, len(LLP.classes)))
        teacher = dataclasses.replace(teacher, prompts=prompts)
    if args.list_prompts:
        rows = zip(LLP.classes, teacher.thresholds, teacher.prompts, strict=True)
        return "\n".join(f"{name}\t{threshold:g}\t{prompt}" for name, threshold, prompt in rows)
    if args.data is None:
        raise UserError("--data=DIR is missing: the folder of the AVVP_*.csv files")
    if (args.logits is None) == (args.embeddings is None):
        raise UserError("give --logits=DIR, or --embeddings=DIR with --prompt_embeddings, --scale")
    reader = logits_reader(LLP)
    if args.embeddings:
        if args.prompt_embeddings is None or args.scale is None:
            raise UserError("--embeddings needs --prompt_embeddings=FILE and --scale=NUMBER")
        if not np.isfinite(args.scale) or args.scale <= 0:
            raise UserError(f"--scale={args.scale}: must be a finite number greater than 0")
        embeddings = read_prompt_embeddings(args.prompt_embeddings, teacher.prompts)
        reader = embeddings_reader(LLP, embeddings, args.scale)
    folder = args.logits or args.embeddings
    return write_pseudo_labels(teacher, args.data, folder, reader, args.out, args.allow_missing)


def refuse_idle_options(args: argparse.Namespace) -> None:
    """Checks that every given option has an effect: one without is a misunderstanding.

    Raises:
        UserError: names the option without effect.
    """
    by_text = args.prompt_embeddings is not None and args.prompt_embeddings.suffix == ".npz"
    if args.prompts and not (by_text or args.list_prompts):
        raise UserError(
            "--prompts picks rows of a --prompt_embeddings .npz, or goes with --list_prompts"
        )
    if args.logits and (args.prompt_embeddings is not None or args.scale is not None):
        raise UserError("--logits needs neither --prompt_embeddings nor --scale; leave them out")


def main() -> None:
    preemption.watch()
    try:
        print(run(arguments().parse_args()))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
