"""Writes the annotations of published data sets as a folder of one's own (docs/your_data.md).

  python -m tfds_llp.convert ave ANNOTATIONS OUT [--videos DIR]
  python -m tfds_llp.convert unav100 ANNOTATIONS.json OUT [--videos DIR] [--segments 10]
                                     [--seconds 1]

ANNOTATIONS of AVE is the folder of Annotations.txt, trainSet.txt, valSet.txt and testSet.txt.
Videos of UnAV-100 are cut into clips, side by side. OUT gets classes.csv, train.csv, val.csv,
test.csv, and dense_audio.csv and dense_visual.csv for val and test; weak labels are those of the
dense ones. With --videos, OUT/videos becomes a link to DIR, which holds ID.mp4.
"""

import argparse
import os
import sys
from decimal import Decimal
from pathlib import Path

from avvp_jax.errors import UserError, one_line
from avvp_jax.runtime import preemption
from avvp_jax.runtime.commands import USER_ERROR
from avvp_jax.storage.writing import on_cloud
from avvp_jax.task import LLP, MOST_SEGMENTS
from tfds_llp.flags import OneLineParser
from tfds_llp.own.ave import read_ave
from tfds_llp.own.cuts import microseconds
from tfds_llp.own.published import Published
from tfds_llp.own.unav100 import read_unav100
from tfds_llp.own.writing import write_own

PROGRAM = "tfds_llp.convert"


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets = parser.add_subparsers(dest="data", required=True, metavar="{ave,unav100}")
    for name, what in (("ave", "folder of AVE's files"), ("unav100", "UnAV-100's json file")):
        each = sets.add_parser(name, prog=f"{parser.prog} {name}")
        each.add_argument("annotations", type=_place, metavar="ANNOTATIONS", help=what)
        each.add_argument("out", type=_place, metavar="OUT", help="folder to write")
        each.add_argument("--videos", type=_place, metavar="DIR", help="folder of the videos")
        if name == "unav100":
            each.add_argument("--segments", type=int, default=LLP.segments, help="of a clip")
            each.add_argument("--seconds", default="1", help="of a segment")
    return parser


def _place(path: str) -> Path:
    if on_cloud(path):
        raise argparse.ArgumentTypeError(f"{path}: must be on this machine")
    return Path(os.path.expanduser(path))


def run(args: argparse.Namespace) -> None:
    """Reads, writes, and says what there is.

    Raises:
        UserError: see read_ave, read_unav100 and write_own.
    """
    data = read_ave(args.annotations) if args.data == "ave" else _unav100(args)
    if "train" not in data.splits:
        raise UserError(f"{args.annotations}: has no video to train with")
    remarks = [*data.remarks, *write_own(args.out, data, args.videos)]
    sizes = ", ".join(f"{len(clips)} {split}" for split, clips in data.splits.items())
    nothing = [c.name for clips in data.splits.values() for c in clips if not c.events]
    print(f"{args.out}: {len(data.classes)} classes; clips: {sizes}; {len(nothing)} without events")
    for line in remarks:
        print(one_line(line))


def _unav100(args: argparse.Namespace) -> Published:
    if not 1 <= args.segments <= MOST_SEGMENTS:
        raise UserError(f"--segments={args.segments}: a clip has 1 to {MOST_SEGMENTS} segments")
    try:
        segment = microseconds(Decimal(args.seconds)) or 0
    except ArithmeticError:
        segment = 0
    if not microseconds(Decimal("0.1")) <= segment <= microseconds(Decimal(3600)):
        raise UserError(f"--seconds={args.seconds}: a segment lasts from 0.1 s to an hour")
    return read_unav100(args.annotations, args.segments, segment)


def main() -> None:
    preemption.watch()
    try:
        run(arguments().parse_args())
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
