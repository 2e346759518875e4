"""How fast the encoders make the features of a video, beside PyTorch where it is installed.

  python benchmarks/encoders.py [--streams NAME ...] [--rounds N] [--rows SHARE] [--dtype bfloat16]

A video has 80 pictures of 224 x 224, ten clips of eight pictures of 112 x 112, ten log-mel
spectrograms of 96 x 64, ten pictures for CLIP (ViT-L/14) and eleven spectrograms of 1001 x 64 for
CLAP; of PyTorch these two take the library transformers too. Weights are random. Ours, PyTorch's in
both memory formats, and a product of large matrices are measured in turns, since other programs on
a machine slow them down alike; the best of all rounds counts, and how many times as fast as each
other ours is: median and quartiles of the rounds' ratios. --rows 0.1 takes a tenth of a video's
rows, on a slow machine.
"""

import argparse
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from machine import matrix_flops, peak_flops, peak_memory  # noqa: E402
from ratios import ratio  # noqa: E402

from avvp_jax.encoders import clip, htsat  # noqa: E402
from avvp_jax.encoders.features import features_of, program_for, program_of, through  # noqa: E402
from avvp_jax.encoders.media_tower import PARTS  # noqa: E402
from avvp_jax.encoders.published import ENCODERS  # noqa: E402
from avvp_jax.encoders.towers import Tower  # noqa: E402
from avvp_jax.nn.functional import Network, Variables  # noqa: E402

# The shapes of the rows of a video of ten seconds.
ROWS = {
    "resnet152": jax.ShapeDtypeStruct((80, 224, 224, 3), np.uint8),
    "r2plus1d": jax.ShapeDtypeStruct((10, 8, 112, 112, 3), np.uint8),
    "vggish": jax.ShapeDtypeStruct((10, 96, 64), np.float32),
    "clip": jax.ShapeDtypeStruct((10, 224, 224, 3), np.float32),
    "clap": jax.ShapeDtypeStruct((11, 1001, 64), np.float32),
}
TOWERS = {
    "clip": Tower(clip.VisionTower, clip.LARGE_VISION, {}),
    "clap": Tower(htsat.HTSAT, htsat.TINY, {}),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def inputs(stream: str, share: float) -> np.ndarray:
    """Made-up rows of a video."""
    count, *row = ROWS[stream].shape
    shape, rng = (max(1, round(share * count)), *row), np.random.default_rng(0)
    if ROWS[stream].dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.standard_normal(shape).astype(np.float32)


def network_of(stream: str, dtype: str = "float32") -> Network:
    return (TOWERS.get(stream) or ENCODERS[stream]).network(dtype)


def program(stream: str, dtype: str = "float32") -> Callable:
    """A compiled function of an encoder's variables and rows."""
    if stream in ENCODERS:
        return program_of(stream, dtype)
    return program_for(network_of(stream, dtype), "features")


@functools.cache
def flops_of_row(stream: str) -> float:
    """Multiplications and additions for a picture, a clip or a spectrogram."""
    network, rows = network_of(stream), ROWS[stream]
    one = jax.ShapeDtypeStruct((1, *rows.shape[1:]), rows.dtype)
    return matrix_flops(lambda variables, x: network.module(variables)(x), network.shapes(), one)


@functools.cache
def random_variables(stream: str) -> Variables:
    return jax.jit(network_of(stream).init)(jax.random.key(0))


def ours(stream: str, rows: np.ndarray, dtype: str) -> Callable[[], object]:
    variables = random_variables(stream)
    if stream in ENCODERS:
        return lambda: jax.block_until_ready(features_of(stream, variables, rows, dtype))
    run = functools.partial(through, program(stream, dtype), PARTS[stream])
    return lambda: jax.block_until_ready(run(variables, rows))


def theirs(stream: str, rows: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    """PyTorch's, of normalised rows, in parts that are its best on a CPU."""
    try:
        import torch
    except ImportError:
        return
    import torch_encoders

    if stream == "clip":
        yield from _torch_clip(torch, rows)
        return
    if stream == "clap":
        yield from _torch_clap(torch, rows)
        return
    x = torch.from_numpy(rows.astype(np.float32))
    x = x[:, None] if stream == "vggish" else torch.movedim(x / 128 - 1, -1, 1).contiguous()
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    for name, memory in (("torch", torch.contiguous_format), ("torch channels last", last)):
        network = torch_encoders.NETWORKS[stream]().eval().to(memory_format=memory)
        part = {"resnet152": 4, "r2plus1d": 1, "vggish": 10}[stream]
        parts = [each.contiguous(memory_format=memory) for each in x.split(part)]

        def run(network=network, parts=parts):
            with torch.inference_mode():
                return [network(each) for each in parts]

        yield name, run


def _torch_clip(torch, rows: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    """The same weights with both of transformers' ways of attention."""
    try:
        import torch_encoders

        network = torch_encoders.clip().eval()
    except ImportError:
        return
    x = torch.movedim(torch.from_numpy(rows), -1, 1).contiguous()

    for name in ("sdpa", "eager"):

        def run(name=name):
            network.set_attn_implementation(name)
            with torch.inference_mode():
                return [network(each) for each in x.split(5)]

        yield f"transformers {name}", run


def _torch_clap(torch, rows: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    """Clips of up to ten seconds, all at once and one by one."""
    try:
        import torch_encoders

        network = torch_encoders.clap().eval()
    except ImportError:
        return
    # The same spectrogram four times; of short clips the first is read.
    x = torch.from_numpy(rows)[:, None].expand(-1, 4, -1, -1)

    for name, part in (("at once", len(rows)), ("one by one", 1)):

        def run(part=part):
            with torch.inference_mode():
                short = torch.zeros(part, 1, dtype=torch.bool)
                return [network(each, is_longer=short) for each in x.split(part)]

        yield f"transformers {name}", run


def measured(runs: dict[str, Callable], rounds: int, clock: Callable) -> dict[str, list[float]]:
    """The times of each run, all in turns after one of each that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if number:
                times[name].append(clock() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5, help="2 or more")
    parser.add_argument("--rows", type=float, default=1.0, help="share of a video's rows")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument(
        "--clock", default="wall", choices=CLOCKS, help="cpu: of this process, if it has one core"
    )
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds={args.rounds}: quartiles need two or more")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    seconds, work = {}, 0.0
    peak = 0.0
    for stream in args.streams:
        rows = inputs(stream, args.rows)
        flops = len(rows) * flops_of_row(stream)
        runs = {"ours": ours(stream, rows, args.dtype), **dict(theirs(stream, rows))}
        times = measured(runs, args.rounds, CLOCKS[args.clock])
        peak = max(peak, peak_flops(args.dtype, "highest"))
        work += flops
        for name, taken in times.items():
            seconds[name] = seconds.get(name, 0.0) + min(taken)
            beside = "" if name == "ours" else f"  ours {ratio(taken, times['ours'])} times as fast"
            print(line(stream, name, flops, min(taken), args.rows, peak) + beside, flush=True)
    for name, time_taken in seconds.items():
        print(line("together", name, work, time_taken, args.rows, peak))
    print(f"matrix peak {peak / 1e9:.0f} GFLOP/s, memory at most {peak_memory() / 2**20:.0f} MiB")


def line(stream: str, name: str, flops: float, seconds: float, share: float, peak: float) -> str:
    rate = flops / seconds
    return (
        f"{stream:10} {name:20} {share / seconds:7.3f} videos/s  {rate / 1e9:7.0f} GFLOP/s  "
        f"{rate / peak:4.0%} of the matrix peak"
    )


if __name__ == "__main__":
    main()
