"""A parser of command lines that reports a mistake in one line, and flags that commands share."""

import argparse
from collections.abc import Callable

from avvp_jax.errors import UserError
from avvp_jax.runtime import commands, preemption
from avvp_jax.task import LLP, Task


class OneLineParser(argparse.ArgumentParser):
    """Raises a UserError for a mistake, where argparse would print the usage and exit."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")


def add_extraction(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that go through a folder of videos, maybe in several processes."""
    parser.add_argument("--videos", required=True, help="folder of the videos, and those below it")
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


def task_of(args: argparse.Namespace) -> Task:
    """What a clip is, of any classes.

    Raises:
      UserError: it is nothing.
    """
    try:
        seconds = int(args.seconds) if args.seconds == int(args.seconds) else args.seconds
        stored = {"name": "clips", "classes": ["any"], "segments": args.segments}
        return Task.from_json({**stored, "seconds": seconds})
    except (ValueError, OverflowError):
        raise UserError(
            f"--segments={args.segments} --seconds={args.seconds}: a clip has one or more "
            "segments of some time"
        ) from None


def how_to_extract(args: argparse.Namespace) -> dict[str, object]:
    """Arguments of extraction.extract.

    Raises:
      UserError: there are no workers.
    """
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers={args.workers}: must be 1 or more")
    return {
        "weights_dir": args.weights_dir,
        "fidelity": args.fidelity,
        "arithmetic": (args.dtype, args.precision),
        "workers": args.workers,
    }


def carry_out(
    program: str, parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]
) -> None:
    """A command from its arguments to its exit code."""
    preemption.watch()
    try:
        args = parser.parse_args()
    except UserError as error:
        commands.stop(program, error)
    of_others = args.coordinator, args.num_processes, args.process_id
    commands.carry_out(program, lambda: run(args), *of_others)
