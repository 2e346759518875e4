"""Comparing trained weights with golden ones."""

import jax
import numpy as np

from avvp_jax.published import LAYOUTS, to_published


def assert_weights(state, method, unused, numbers, prefix, moved):
    """A state's parameters against [norm, sum, first six entries] at `prefix` in golden numbers.

    Tolerances are those of the golden numbers' description; `moved` is learning rate * steps.
    """
    weights = to_published(jax.device_get(state["params"]), LAYOUTS[method], unused)
    after = {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix)}
    assert after.keys() == weights.keys()
    for name, expected in after.items():
        _assert_weight(name, weights[name].astype(np.float64).ravel(), expected, moved)


def _assert_weight(name: str, weight: np.ndarray, expected: np.ndarray, moved: float):
    norm, total, entries = expected[0], expected[1], expected[2:]
    first = np.pad(weight[:6], (0, max(0, 6 - weight.size)))
    if name.endswith("in_proj_bias"):
        # A softmax ignores the key third; the others are as any weight.
        third = weight.size // 3
        assert abs(weight.sum() - total) <= moved * (weight.size**0.5 + 2 * third), name
        np.testing.assert_allclose(first, entries, rtol=0, atol=5e-5, err_msg=name)
    elif name.endswith(("fc_frame_att.bias", "fc_av_att.bias")):
        # Their gradient is rounding noise, which Adam makes into steps of any sign.
        np.testing.assert_allclose(first, entries, rtol=0, atol=2 * moved, err_msg=name)
        assert abs(weight.sum() - total) <= 2 * moved * weight.size, name
    else:
        np.testing.assert_allclose(first, entries, rtol=0, atol=5e-5, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(weight), norm, rtol=1e-4, err_msg=name)
        assert abs(weight.sum() - total) <= moved * weight.size**0.5, name
