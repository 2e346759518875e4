"""Comparing trained weights with golden ones."""

import re

import jax
import numpy as np

from avvp_jax.interchange.state_dicts import to_published
from avvp_jax.interchange.torch_files import COUNTER


def assert_weights(variables, layout, unused, numbers, prefix, moved, entries=5e-5):
    """Variables against [norm, sum, first six entries] at `prefix` in golden numbers.

    Tolerances are those of the golden numbers' description; `moved` is learning rate * steps,
    `entries` the tolerance of entries.
    """
    weights = to_published(jax.device_get(variables), layout, unused)
    assert_published_weights(weights, numbers, prefix, moved, entries)


def assert_published_weights(weights, numbers, prefix, moved, entries=5e-5):
    """The same, of weights by their published names."""
    after = {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix)}
    assert after.keys() == {name for name in weights if not name.endswith(COUNTER)}
    for name, expected in after.items():
        weight = weights[name].astype(np.float64).ravel()
        _assert_weight(name, weight, expected, moved, entries)


def _assert_weight(
    name: str, weight: np.ndarray, expected: np.ndarray, moved: float, tolerance: float
):
    norm, total, entries = expected[0], expected[1], expected[2:]
    first = np.pad(weight[:6], (0, max(0, 6 - weight.size)))
    if name.endswith("in_proj_bias"):
        # A softmax ignores the key third; the others are as any weight.
        third = weight.size // 3
        assert abs(weight.sum() - total) <= moved * (weight.size**0.5 + 2 * third), name
        np.testing.assert_allclose(first, entries, rtol=0, atol=tolerance, err_msg=name)
    elif idle(name):
        # Their gradient is rounding noise, which Adam makes into steps of any sign.
        np.testing.assert_allclose(first, entries, rtol=0, atol=2 * moved, err_msg=name)
        assert abs(weight.sum() - total) <= 2 * moved * weight.size, name
    elif "running_" in name:
        # Statistics of a few rows follow the rounding of the weights before them: in float64
        # these entries are up to 2.6e-4 from the golden ones, weights 4.1e-5.
        np.testing.assert_allclose(first, entries, rtol=0, atol=4e-4, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(weight), norm, rtol=1e-4, err_msg=name)
        assert abs(weight.sum() - total) <= moved * weight.size**0.5, name
    else:
        np.testing.assert_allclose(first, entries, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(weight), norm, rtol=1e-4, err_msg=name)
        assert abs(weight.sum() - total) <= moved * weight.size**0.5, name


def idle(name: str) -> bool:
    """Whether a bias has no gradient but rounding noise: a softmax ignores it."""
    words = name.replace("/", ".")
    if words.endswith("linears.1.bias"):  # LEAP's keys; the last decoder layers' raw scores count
        return "cma_network.1" not in words
    # Heads of one class each (MM-CSE) have an index in their published names.
    return re.search(r"fc_(frame|av)_att(\.fc\.\d+)?\.bias$", words) is not None


def assert_same_training(one: dict, two: dict, moved: float):
    """Variables of the same training on other devices, within the golden numbers' tolerances."""
    for (path, x), (_, y) in zip(
        jax.tree_util.tree_leaves_with_path(one),
        jax.tree_util.tree_leaves_with_path(two),
        strict=True,
    ):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        bounds = np.full(x.shape, 5e-5)
        if name.endswith("in_bias"):
            # A softmax ignores the key third, so that Adam makes steps of rounding noise.
            third = x.shape[-1] // 3
            bounds[..., third : 2 * third] = moved
        elif idle(name):
            bounds[...] = moved
        else:
            norms = np.linalg.norm(x), np.linalg.norm(y)
            np.testing.assert_allclose(*norms, rtol=1e-4, err_msg=name)
        np.testing.assert_array_less(np.abs(x - y), bounds, err_msg=name)


def assert_close(one, two, moved: float) -> None:
    """Weights of two runs; what a softmax ignores follows rounding noise."""
    for (path, x), (_, y) in zip(
        jax.tree_util.tree_leaves_with_path(one),
        jax.tree_util.tree_leaves_with_path(two),
        strict=True,
    ):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        free = name.endswith("in_bias") or idle(name)
        np.testing.assert_allclose(x, y, rtol=0, atol=2 * moved if free else 1e-4, err_msg=name)
