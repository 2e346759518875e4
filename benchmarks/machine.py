"""Measures the peak rates of this device, and counts the work of a function."""

import math
import statistics
import time

import jax
import jax.numpy as jnp

from avvp_jax.nn.layers import PRECISIONS

# Sizes at which a product is limited by arithmetic only, and a sum by memory only.
MATRIX = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
VECTOR = 2**27
REPEATS = 7


def peak_flops(dtype: str, precision: str) -> float:
    """Multiplications and additions per second of a large product.

    Args:
      dtype, precision: as in `config.model`.
    """
    size = MATRIX.get(jax.default_backend(), 2048)
    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    square = jax.jit(lambda x: jnp.matmul(x, x, precision=PRECISIONS[precision]))
    jax.block_until_ready(square(x))
    return 2 * size**3 / min(seconds(lambda: square(x)) for _ in range(REPEATS))


def peak_bandwidth() -> float:
    """Bytes per second read and written when a vector much larger than the caches is updated."""
    x, times = jnp.ones(VECTOR, jnp.float32), []
    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    for _ in range(REPEATS):
        start = time.perf_counter()
        x = jax.block_until_ready(add(x))
        times.append(time.perf_counter() - start)
    return 2 * x.nbytes / min(times)


def seconds(call) -> float:
    """Wall-clock time of a call, including all work that it starts on the device."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def median_seconds(call, repeats: int) -> float:
    """The median wall-clock time of several calls."""
    return statistics.median(seconds(call) for _ in range(repeats))


def matrix_flops(function, *arguments) -> float:
    """Multiplications and additions of the products and convolutions in a call of a pure function.

    Counted before compilation, from the shapes of the products that the results need. The body
    of a loop counts once per iteration.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return _count(jaxpr, [True] * len(jaxpr.outvars))


def _count(jaxpr, needed: list[bool]) -> float:
    """Counts the products that the `needed` ones of a program's results depend on."""
    live = {id(var) for var, need in zip(jaxpr.outvars, needed, strict=True) if need}
    total = 0.0
    for equation in reversed(jaxpr.eqns):
        wanted = [id(var) in live for var in equation.outvars]
        if any(wanted):
            live.update(map(id, equation.invars))
            total += _product(equation) + _nested(equation, wanted)
    return total


def _product(equation) -> float:
    if equation.primitive.name == "conv_general_dilated":
        kernel, outputs = equation.invars[1].aval, equation.outvars[0].aval
        # What is padded counts, too.
        return 2.0 * outputs.size * kernel.size / kernel.shape[_outputs_axis(equation)]
    if equation.primitive.name != "dot_general":
        return 0.0
    (contracted, _), _ = equation.params["dimension_numbers"]
    inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2.0 * inner * equation.outvars[0].aval.size


def _outputs_axis(equation) -> int:
    """The axis of a convolution's kernel that its results' channels come from."""
    return equation.params["dimension_numbers"].rhs_spec[0]


def _nested(equation, wanted: list[bool]) -> float:
    """Counts the products of programs in an equation: a loop's body, a condition's branches."""
    counts = []
    for inner in _inner(equation):
        # The results of an iteration are inputs of the next one, so all of them are needed.
        loop = equation.primitive.name in ("scan", "while") or len(inner.outvars) != len(wanted)
        counts.append(_count(inner, [True] * len(inner.outvars) if loop else wanted))
    if "branches" in equation.params:
        return max(counts)
    return (equation.params["length"] if equation.primitive.name == "scan" else 1) * sum(counts)


def _inner(equation):
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else [value]:
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                yield item


def compiled_flops(function, *arguments) -> float:
    """All arithmetic in one call, as counted by XLA; a loop's body counts once."""
    costs = jax.jit(function).lower(*arguments).compile().cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return (costs or {}).get("flops", float("nan"))


def peak_memory() -> float:
    """Peak memory so far, in bytes: of the device, or on a CPU of this process."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", used)
