"""The least time that a device can take for a step: what bounds it, and the devices' numbers."""

import math
from typing import NamedTuple


class Numbers(NamedTuple):
    """What a device can do at most, by its maker's account.

    Attributes:
      memory: bytes.
      bandwidth: bytes a second from and to memory.
      products: operations a second in matrix products, by precision (hlo.product_precisions).
      links: bytes a second that a device sends and receives together, to others of its kind.
      launch: seconds from the start of a kernel to that of the next, at least; 0 where programs
        start none.
      source: where the numbers are from.
    """

    memory: float
    bandwidth: float
    products: dict[str, float]
    links: float
    launch: float
    source: str


def _tpu(memory: float, bandwidth: float, bfloat16: float, links: float, name: str) -> Numbers:
    """A TPU multiplies float32 in six or three passes of bfloat16."""
    products = {"highest": bfloat16 / 6, "high": bfloat16 / 3, "default": bfloat16}
    products |= {"bfloat16": bfloat16}
    source = f"Google Cloud's documentation of {name}; float32 as passes of bfloat16"
    return Numbers(memory, bandwidth, products, links, 0.0, source)


NUMBERS = {
    "h100": Numbers(
        80e9,
        3.35e12,
        {"highest": 67e12, "high": 494.7e12, "default": 494.7e12, "bfloat16": 989.4e12},
        900e9,
        0.8e-6,
        "NVIDIA's data sheet of the H100 SXM (dense); docs/performance.md has the launch",
    ),
    "v5e": _tpu(16e9, 819e9, 197e12, 400e9, "v5e"),
    "v5p": _tpu(95e9, 2765e9, 459e12, 1200e9, "v5p"),
    "v6e": _tpu(32e9, 1640e9, 918e12, 800e9, "v6e"),
}
# How often the bytes of a collective leave a device, and as many come in.
SENT = {"all-reduce": 2.0}


def numbers_of(target: str) -> Numbers:
    """Those of a target's devices, by its name: "h100x8", "v5e:4x4"."""
    return NUMBERS[target.partition(":")[0].partition("x")[0]]


def floors(target: str, row: dict) -> dict[str, float]:
    """Seconds that a step takes at least, by what bounds it.

    Each is a bound by itself, as if all else cost nothing; the step takes at least the largest.

    Args:
      row: flops, bytes, kernels and collectives of a step on one device, the products by
        precision, and `peers`, how many devices exchange what they have.
    """
    device, peers = numbers_of(target), row["peers"]
    # Of products of several precisions all might be as cheap as the cheapest.
    rate = max((device.products[name] for name in row["products"]), default=math.inf)
    sent = sum(SENT.get(kind, 1.0) * size for kind, size in row["collectives"].items())
    return {
        "launches": row["kernels"] * device.launch,
        "memory": row["bytes"] / device.bandwidth,
        "products": row["flops"] / rate,
        "links": 2 * sent * (peers - 1) / peers / device.links,
    }
