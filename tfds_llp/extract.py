"""Makes the published feature files of a folder of videos.

  python -m tfds_llp.extract --videos DIR --data DATA [--streams base] [--weights_dir DIR]

writes DATA/FOLDER/ID.npy for each stream and each video DIR/ID.mp4 (or another kind of file), and
DATA/extract_report.csv. Started again it goes on; a video that fails is tried again. A video of LLP
is a clip of ten seconds; of longer ones published features are spread over the whole picture and
the first ten seconds of sound, and direct ones are of the first ten seconds.
"""

import argparse
import os
import sys

from avvp_jax.errors import UserError
from avvp_jax.runtime import commands, preemption
from avvp_jax.streams import STREAM_SETS
from avvp_jax.task import LLP, Task
from tfds_llp.flags import OneLineParser

PROGRAM = "tfds_llp.extract"


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", required=True, help="folder of the videos, and those below it")
    parser.add_argument("--data", required=True, help="folder to write to")
    parser.add_argument("--streams", default="base", help=f"one of {', '.join(STREAM_SETS)}")
    parser.add_argument("--weights_dir", help="folder of the encoders' weights")
    parser.add_argument("--fidelity", default="published", choices=("published", "direct"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--precision", default="highest", choices=("highest", "high", "fastest"))
    parser.add_argument("--segments", type=int, default=LLP.segments, help="of a clip")
    parser.add_argument("--seconds", type=float, default=LLP.seconds, help="of a segment")
    parser.add_argument("--workers", type=int, help="processes that decode (default: the cores)")
    parser.add_argument("--allow_failures", action="store_true", help="exit with 0 all the same")
    parser.add_argument("--coordinator", help="HOST:PORT of the first of several processes")
    parser.add_argument("--num_processes", type=int, help="how many share the videos")
    parser.add_argument("--process_id", type=int, help="which of them this one is, from 0")
    return parser


def run(args: argparse.Namespace) -> int:
    """Extracts as the arguments say; returns the exit code."""
    from tfds_llp.extraction import extract  # here, because it is slow

    if args.streams not in STREAM_SETS:
        raise UserError(f"--streams={args.streams}: must be one of {', '.join(STREAM_SETS)}")
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers={args.workers}: must be 1 or more")
    try:
        seconds = int(args.seconds) if args.seconds == int(args.seconds) else args.seconds
        stored = {"name": "clips", "classes": ["any"], "segments": args.segments}
        task = Task.from_json({**stored, "seconds": seconds})
    except (ValueError, OverflowError):
        raise UserError(
            f"--segments={args.segments} --seconds={args.seconds}: a clip has one or more "
            "segments of some time"
        ) from None
    failed = extract(
        os.path.expanduser(args.videos),
        os.path.expanduser(args.data),
        STREAM_SETS[args.streams],
        task,
        weights_dir=args.weights_dir,
        fidelity=args.fidelity,
        arithmetic=(args.dtype, args.precision),
        workers=args.workers,
    )
    return commands.USER_ERROR if failed and not args.allow_failures else 0


def main() -> None:
    preemption.watch()
    try:
        args = arguments().parse_args()
    except UserError as error:
        commands.stop(PROGRAM, error)
    of_others = args.coordinator, args.num_processes, args.process_id
    commands.carry_out(PROGRAM, lambda: run(args), *of_others)


if __name__ == "__main__":
    sys.exit(main())
