"""What the encoders of a video ask of accelerators, read from programs compiled for them.

  python benchmarks/encoder_programs.py [--targets h100 v5e:1x1] [--dtypes float32 bfloat16]
                                        [--videos 1 4] [--host SECONDS ...] [--json FILE]

No accelerator is needed, as for accelerators.py: everything is computed, nothing measured. Rows
are those of so many videos of ten seconds (encoders.py), precision is "highest". The second table
is of the encoders together, one after the other: the most videos a second, and how many cores of
a host feed them if reading a video and its sound takes one core so many SECONDS (extraction.py
measures that). Rows that the JSON file has already are not made again.
"""

import argparse
import itertools
import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # a GPU here would not be what is described

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import encoders  # noqa: E402
import facts  # noqa: E402
import jax  # noqa: E402
import targets  # noqa: E402
from jax.sharding import SingleDeviceSharding  # noqa: E402

from avvp_jax.nn.functional import Network  # noqa: E402

KEY = ("target", "encoder", "dtype", "videos")  # tells rows apart
COLUMNS: facts.Columns = {
    "target": lambda r: r["target"],
    "encoder": lambda r: r["encoder"],
    "dtype": lambda r: r["dtype"],
    "videos": lambda r: r["videos"],
    **{name: cell for name, cell in facts.COLUMNS.items() if not name.startswith("collectives")},
}


def lowered(
    target: targets.Target, program, network: Network, rows: jax.ShapeDtypeStruct
) -> jax.stages.Lowered:
    """A compiled function of a network's variables and rows, for the first of a target's devices.

    Args:
      program: as from program_of.
      rows: of so many videos; only their shape is needed.
    """
    place = SingleDeviceSharding(target.devices().flat[0])

    def there(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    return program.lower(jax.tree.map(there, network.shapes()), there(rows))


def asked(
    row: dict, target: targets.Target, text: pathlib.Path | None, rows: jax.ShapeDtypeStruct
) -> dict:
    """The row with what the program of its encoder asks of a target's device."""
    stream = row["encoder"]
    program = encoders.program(stream, row["dtype"])
    flops = rows.shape[0] * encoders.flops_of_row(stream)
    made = lowered(target, program, encoders.network_of(stream), rows)
    return row | {"flops": flops, "peers": 1} | facts.facts(target, made, text)


def together(rows: list[dict], wanted: list[str]) -> list[dict]:
    """The least time of the `wanted` encoders, by target, dtype and videos at once."""
    found: dict[tuple, dict] = {}
    for row in rows:
        if row["encoder"] not in wanted:
            continue
        key = (row["target"], row["dtype"], row["videos"])
        sum_ = found.setdefault(key, dict(zip(("target", "dtype", "videos"), key, strict=True)))
        sum_["seconds"] = sum_.get("seconds", 0.0) + facts.least(row)
        sum_["encoders"] = [*sum_.get("encoders", []), row["encoder"]]
    return [row for row in found.values() if sorted(row["encoders"]) == sorted(wanted)]


def columns_together(host: list[float]) -> facts.Columns:
    """Columns of the encoders together, with cores for each time that a host takes for a video."""

    def rate(row):
        return row["videos"] / row["seconds"]

    def cores(seconds):
        return lambda row: f"{rate(row) * seconds:.1f}"

    return {
        **{name: lambda r, name=name: r[name] for name in ("target", "dtype", "videos")},
        "floor ms": lambda r: f"{facts.MS * r['seconds']:.1f}",
        "most videos/s": lambda r: f"{rate(r):.1f}",
        **{f"cores at {seconds:g} s a video": cores(seconds) for seconds in host},
    }


def arguments():
    """The command line; ends with one line if a target cannot be compiled for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--encoders", nargs="+", default=list(encoders.ROWS), choices=encoders.ROWS)
    parser.add_argument("--targets", nargs="+", default=["h100", "v5e:1x1"])
    parser.add_argument(
        "--dtypes", nargs="+", default=["float32", "bfloat16"], choices=("float32", "bfloat16")
    )
    parser.add_argument("--videos", nargs="+", type=int, default=[1, 4], help="at once")
    parser.add_argument("--host", nargs="+", type=float, default=[], help="core-seconds a video")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows here")
    parser.add_argument("--hlo", type=pathlib.Path, help="keep each program as text in this folder")
    args = parser.parse_args()
    args.targets = targets.installed(args.targets, parser)
    return args


def main() -> None:
    args = arguments()
    rows = facts.Rows(KEY, args.json, args.hlo)
    cases = itertools.product(args.targets, args.dtypes, args.videos, args.encoders)
    for target, dtype, videos, stream in cases:
        row = {"target": target.name, "encoder": stream, "dtype": dtype, "videos": videos}
        if rows.key(row) in rows.by_key:
            continue
        one = encoders.ROWS[stream]
        many = jax.ShapeDtypeStruct((videos * one.shape[0], *one.shape[1:]), one.dtype)
        row = asked(row, target, rows.text_of(row), many)
        facts.add_floors([row])
        rows.add(row)
        rows.save()
        print(facts.line(row, COLUMNS), file=sys.stderr, flush=True)
    facts.add_floors(rows.all())
    print(facts.table(rows.all(), COLUMNS), end="\n\n")
    print(facts.table(together(rows.all(), args.encoders), columns_together(args.host)))


if __name__ == "__main__":
    main()
