"""How fast the last stage of each method trains and evaluates on longer clips, in turn.

  python benchmarks/lengths.py [--configs han valor:plus] [--segments 10 60] [--batch 16]
                               [--rounds 5]

Each length is compiled first, in one process, for two batches. In each round every length trains
them, then in as many rounds evaluates them, so that a machine whose speed moves within minutes
moves for all. A rate is the median over rounds, a ratio that of the time of a video to the first
length's in the same round.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
CONFIGS = ("han", "jomold", "valor:plus", "dhhn")
SEGMENTS = (10, 20, 40, 60)
BATCHES = 2
TITLE = "stage, batch | segments | train videos/s | time of a video | train MFLOP/video | "
TITLE += "eval videos/s | time of a video"


def measure(
    config_name: str, lengths: list[int], batch: int, rounds: int, data_dir: str
) -> list[str]:
    """A line for each length of a config's last stage."""
    import machine
    import throughput
    from stage import Bench

    config = throughput.measured_config(config_name)
    published = throughput.load_config(config_name, "")
    stage = throughput.training_stages(published)[-1]
    batch = batch or int(stage.settings(published).train.batch_size)
    config.train.batch_size, config.data.data_dir, videos = batch, data_dir, BATCHES * batch
    benches = [
        Bench(config.copy_and_resolve_references(), stage.name, 1, videos, segments)
        for segments in lengths
    ]
    for bench in benches:
        machine.seconds(bench.epoch)
        machine.seconds(bench.validate)
    train, evaluate = (
        [[machine.seconds(getattr(bench, call)) for bench in benches] for _ in range(rounds)]
        for call in ("epoch", "validate")
    )
    lines = []
    for place, (segments, bench) in enumerate(zip(lengths, benches, strict=True)):
        trained, evaluated = (of_length(times, place, videos) for times in (train, evaluate))
        flops = bench.train_flops()[0] / batch / 1e6
        name = f"{config_name} {stage.name}, {batch}"
        lines.append(f"| {name} | {segments} | {trained} | {flops:.0f} | {evaluated} |")
    return lines


def of_length(times: list[list[float]], place: int, videos: int) -> str:
    """Videos a second of a length, and how much longer than the first a video takes."""
    rate = videos / statistics.median(row[place] for row in times)
    return f"{rate:.0f} | {statistics.median(row[place] / row[0] for row in times):.2f}"


def main() -> None:
    import throughput

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), help="default these four")
    parser.add_argument("--segments", nargs="+", type=int, default=list(SEGMENTS), help="of a clip")
    parser.add_argument("--batch", type=int, default=0, help="0: the config's own")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    configs = throughput.config_names(args.configs, parser)
    print(f"| {TITLE} |\n|{'---|' * (TITLE.count('|') + 1)}")
    with tempfile.TemporaryDirectory() as data_dir:
        for name in configs:
            print(
                "\n".join(measure(name, args.segments, args.batch, args.rounds, data_dir)),
                flush=True,
            )


if __name__ == "__main__":
    main()
