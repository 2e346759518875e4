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
import os

import numpy as np

from avvp_jax.encoders.classes import PRIOR, classes_text, read_classes, unknown_thresholds
from avvp_jax.errors import UserError, one_line
from avvp_jax.runtime import commands, processes
from avvp_jax.runtime.agreement import refuse_differences
from tfds_llp.flags import OneLineParser, add_extraction, carry_out, how_to_extract, task_of

PROGRAM = "tfds_llp.teach"


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
        "--prior", type=float, default=PRIOR, help="share of segments that have a class"
    )
    add_extraction(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Teaches as the arguments say; returns the exit code."""
    from tfds_llp.extraction import Named, extract  # here, because they are slow
    from tfds_llp.teaching import refuse_others, teach_segments

    if not 0 < args.prior < 1:
        raise UserError(f"--prior={args.prior}: must be between 0 and 1")
    how, task = how_to_extract(args), task_of(args)
    names, teachers = read_classes(os.path.expanduser(args.classes))
    out = os.path.expanduser(args.out)
    refuse_others(out)
    refuse_differences({"--classes": classes_text(names, teachers), "--prior": args.prior})

    def finish(named: Named, mine: Named) -> None:
        anything = np.ones(len(names), np.uint8)
        weak = dict.fromkeys(mine, anything)
        path = teach_segments(out, named, weak, names, teachers, task, args.prior)
        if processes.first():
            auto = unknown_thresholds(names, teachers)
            said = f"{path}: the thresholds that were used"
            said += f"; those of auto have about {args.prior:g} of all segments above" * bool(auto)
            print(one_line(said), flush=True)

    videos = os.path.expanduser(args.videos)
    failed = extract(videos, out, (), task, teachers=teachers, finish=finish, **how)
    return commands.USER_ERROR if failed and not args.allow_failures else 0


if __name__ == "__main__":
    carry_out(PROGRAM, arguments(), run)
