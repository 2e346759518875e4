"""How fast videos become features, and what of a host and of memory that takes.

  python benchmarks/extraction.py host  [--size 1280x720] [--streams all] [--videos DIR]
  python benchmarks/extraction.py whole [--dtype bfloat16] [--streams plain]
  python benchmarks/extraction.py long  [--seconds 3600] [--streams base]

Clips of ten seconds are made unless DIR has some: 25 frames a second in H.264, sound in AAC. What
is made before it is measured is in the memory that is printed, too.

  host   reading and log-mel spectrograms: wall and core-seconds of a video, starts of processes
         taken off
  whole  what python -m tfds_llp.extract does with random weights, beside the networks alone, both
         in turns; shares are of a large product's rate in the same rounds
  long   the features of all windows of a long video of 160x120 at two frames a second
"""

import argparse
import contextlib
import pathlib
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import clips  # noqa: E402
import encoders  # noqa: E402
from machine import peak_flops  # noqa: E402
from stand_ins import random_weights  # noqa: E402

from avvp_jax.encoders.extractor import SOURCES, Extractor  # noqa: E402
from avvp_jax.encoders.media_tower import spectrograms  # noqa: E402
from avvp_jax.encoders.teachers import TEACHERS, Teacher  # noqa: E402
from avvp_jax.media.frames import DIRECT, PUBLISHED  # noqa: E402
from avvp_jax.media.windows import Window  # noqa: E402
from avvp_jax.media.workers import read_all  # noqa: E402
from avvp_jax.streams import TEACHING, streams_of  # noqa: E402
from avvp_jax.task import LLP  # noqa: E402
from tfds_llp.extract import STREAMS  # noqa: E402
from tfds_llp.extraction import extract  # noqa: E402

GIGA = 1e9


def used() -> tuple[float, float]:
    """The time, and the core-seconds of this process and of those that have ended."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    times = [resource.getrusage(each) for each in whose]
    return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in times)


def taken(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds and core-seconds of some work, whose processes end with it."""
    before = used()
    work()
    wall, cores = used()
    return wall - before[0], cores - before[1]


class Memory:
    """The most memory that this process and those that it started hold at a time, in MiB.

    Looked at every tenth of a second, while it is entered.
    """

    def __enter__(self) -> "Memory":
        self.most, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        ended = False
        while not ended:
            self.most = max(self.most, sum(map(_held, ["self", *_started()])) / 2**20)
            ended = self._end.wait(0.1)

    def __str__(self) -> str:
        return f"memory at most {self.most:.0f} MiB, decoding processes included"


def _started() -> list[str]:
    """The processes that this one has started, once each is a program of its own.

    Until then it shows this one's memory as its own.
    """
    started = []
    for path in pathlib.Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended
            started += path.read_text().split()
    return [each for each in started if _command(each) != _command("self")]


def _command(process: str) -> bytes:
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _held(process: str) -> int:
    """Bytes of memory of a process; none of one that has ended."""
    try:
        pages = pathlib.Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def host(args: argparse.Namespace, folder: pathlib.Path) -> list[str]:
    """Reading, and what the host makes of it for the networks."""
    extractor = extractor_of(args, drawn=False)
    wanted, found = extractor.wanted(PUBLISHED, most=1), clips.found_or_made(args, folder)

    def read(count: int) -> None:
        paths = [found[number % len(found)] for number in range(count)]
        for each in read_all(paths, wanted, whole=True, workers=args.workers):
            if each.problem:
                raise each.problem
            for stream in STREAMS[args.streams] if each.window else ():
                rows_of(stream, each.window)

    costs = []
    for _ in range(args.rounds):
        # As many more than processes, each of which starts for its first.
        few, many = (
            taken(lambda: read(args.workers)),
            taken(lambda: read(args.workers + args.count)),
        )
        costs.append([(more - less) / args.count for less, more in zip(few, many, strict=True)])
    wall, cores = (statistics.median(each) for each in zip(*costs, strict=True))
    return [
        f"host, {args.streams}, {args.workers} processes: {wall:.2f} s and {cores:.2f} "
        f"core-seconds a video, {1 / wall:.2f} videos/s"
    ]


def rows_of(stream: str, window: Window) -> object:
    """What the host makes of a window for a network."""
    if stream == "clap":
        return spectrograms(window, LLP, features=True, logits=True)
    return window.pictures["clip"] if stream == "clip" else SOURCES[stream].rows(window, LLP)


def teachers_of(streams: Sequence[str]) -> dict[str, Teacher]:
    return {modality: TEACHERS[modality] for modality, x in TEACHING.items() if x in streams}


def extractor_of(args: argparse.Namespace, drawn: bool = True) -> Extractor:
    """Of the streams, and of their teachers; without `drawn` it has no weights."""
    names = STREAMS[args.streams]
    arithmetic = args.dtype, "highest"
    with random_weights(drawn):
        return Extractor(streams_of(names, {}), LLP, None, arithmetic, teachers_of(names))


def whole(args: argparse.Namespace, folder: pathlib.Path) -> Iterator[str]:
    """The command, and the networks alone."""
    videos = pathlib.Path(args.videos or folder / "videos")
    count = len(clips.found_or_made(args, videos))
    streams = STREAMS[args.streams]
    networks = [name for name in streams if name in encoders.ROWS]
    flops = sum(encoders.ROWS[x].shape[0] * encoders.flops_of_row(x) for x in networks)
    alone = [encoders.ours(name, encoders.inputs(name, 1.0), args.dtype) for name in networks]

    def once(number: int) -> None:
        arithmetic = (args.dtype, "highest")
        made = {"arithmetic": arithmetic, "workers": args.workers, "weights_dir": None}
        made["teachers"] = teachers_of(streams)
        if extract(str(videos), str(folder / f"data{number}"), streams, LLP, **made):
            raise RuntimeError("a video failed")

    rows = []
    with random_weights():
        for number in range(args.rounds + 1):  # the first compiles
            wall, cores = (each / count for each in taken(lambda at=number: once(at)))
            inside = taken(lambda: [run() for run in alone])
            rows.append((wall, cores, *inside, peak_flops(args.dtype, "highest")))
    wall, cores, inside, inner, peak = (statistics.median(x) for x in zip(*rows[1:], strict=True))

    def share(seconds: Callable[[tuple], float]) -> float:
        """Of the peak, by the product of the same round."""
        return statistics.median(flops / seconds(row) / row[-1] for row in rows[1:])

    yield f"matrix peak {peak / GIGA:.0f} GFLOP/s, {flops / GIGA:.0f} GFLOP a video in networks"
    if networks:
        yield (
            f"networks alone: {1 / inside:.3f} videos/s, {share(lambda r: r[2]):.0%} of the peak, "
            f"{inner:.1f} core-seconds a video"
        )
    yield (
        f"whole, {count} videos, start included: {1 / wall:.3f} videos/s, "
        f"{share(lambda r: r[0]):.0%} of the peak, {cores:.1f} core-seconds a video"
    )


def long(args: argparse.Namespace, folder: pathlib.Path) -> list[str]:
    """All windows of a long video."""
    path = str(folder / "long.mp4")
    clips.make(path, (160, 120), args.seconds, rate=2)
    made, windows = extractor_of(args), 0

    def through() -> None:
        nonlocal windows
        reads = read_all([path], made.wanted(DIRECT), workers=1)
        for read, features in made.features(reads):
            if read.problem:
                raise read.problem
            windows += bool(features)

    wall, cores = taken(through)
    return [
        f"long, {args.seconds} s, {args.streams}: {windows} windows in {wall:.1f} s, "
        f"{cores / windows:.2f} core-seconds a window"
    ]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("host", "whole", "long"))
    parser.add_argument("--videos", help="folder of clips; else they are made")
    parser.add_argument("--size", default="320x240", help="of clips that are made")
    parser.add_argument("--count", type=int, default=8, help="clips, or how often they are read")
    parser.add_argument("--seconds", type=int, default=3600, help="of the long video")
    parser.add_argument("--streams", default="", choices=STREAMS)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(given)
    args.streams = args.streams or {"long": "plain"}.get(args.part, "base")
    return args


def main() -> None:
    args = arguments()
    part = {"host": host, "whole": whole, "long": long}[args.part]
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        for line in part(args, pathlib.Path(folder)):
            print(line, flush=True)
    print(memory)


if __name__ == "__main__":
    main()
