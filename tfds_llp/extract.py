"""Makes the published feature files of a folder of videos.

  python -m tfds_llp.extract --videos DIR --data DATA [--streams base] [--weights_dir DIR]

writes DATA/FOLDER/ID.npy for each stream and each video DIR/ID.mp4 (or another kind of file), and
DATA/extract_report.csv. Started again it goes on; a video that fails is tried again. A video of LLP
is a clip of ten seconds; of longer ones published features are spread over the whole picture and
the first ten seconds of sound (CLAP's over all of it), and direct ones are of the first ten
seconds.

For CLIP and CLAP it also writes logits of LLP's classes, DATA/{CLIP,CLAP}/segment_logits, and, of
videos that annotation files in DATA name, VALOR's segment_pseudo_labels beside them.
"""

import argparse
import os
import sys
from collections.abc import Mapping

from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.errors import UserError
from avvp_jax.runtime import commands
from avvp_jax.streams import PUBLISHED, STREAM_SETS, TEACHING, encoded
from tfds_llp.flags import OneLineParser, add_extraction, carry_out, how_to_extract, task_of

PROGRAM = "tfds_llp.extract"
STREAMS = STREAM_SETS | {"all": PUBLISHED, "clip": ("clip",), "clap": ("clap",)}


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="folder to write to")
    parser.add_argument("--streams", default="base", help=f"one of {', '.join(STREAMS)}")
    parser.add_argument(
        "--features_only", action="store_true", help="no logits and labels of CLIP and CLAP"
    )
    add_extraction(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Extracts as the arguments say; returns the exit code."""
    from tfds_llp.extract_labels import label_annotated, weak_labels  # here: they are slow
    from tfds_llp.extraction import extract

    if args.streams not in STREAMS:
        raise UserError(f"--streams={args.streams}: must be one of {', '.join(STREAMS)}")
    streams = encoded(STREAMS[args.streams])
    taught = [] if args.features_only else [m for m, x in TEACHING.items() if x in streams]
    task, how = task_of(args), how_to_extract(args)
    teachers, data = {each: TEACHERS[each] for each in taught}, os.path.expanduser(args.data)
    if teachers:
        weak_labels(data)  # or says now, and not at the end, why they cannot be read

    def finish(named: Mapping[str, str], mine: Mapping[str, str]) -> None:
        for line in label_annotated(data, named, mine, teachers, task):
            print(line, file=sys.stderr, flush=True)

    videos = os.path.expanduser(args.videos)
    failed = extract(videos, data, streams, task, teachers=teachers, finish=finish, **how)
    return commands.USER_ERROR if failed and not args.allow_failures else 0


if __name__ == "__main__":
    carry_out(PROGRAM, arguments(), run)
