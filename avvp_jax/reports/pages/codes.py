"""Probabilities as whole numbers of few bytes, which decide as they do.

A page recomputes events from probabilities. Python compares them in float32 with a threshold. A
code is the largest k for which the probability reaches k / 10,000 in float32; so for every
threshold of four decimals, "the code reaches 10,000 times the threshold" is the same decision.
"""

import numpy as np
from jaxtyping import Float, UInt16

STEPS = 10_000
_GRID = (np.arange(STEPS + 1) / STEPS).astype(np.float32)


def codes(probs: Float[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """The code of each probability, from 0 to 10,000; 0 of what is no number."""
    probs = np.nan_to_num(np.asarray(probs, np.float32), nan=0.0)  # NaN reaches no threshold
    found = np.searchsorted(_GRID, probs, side="right") - 1
    return np.clip(found, 0, STEPS).astype(np.uint16)


def code_bytes(probs: Float[np.ndarray, "*shape"]) -> bytes:
    """The codes as bytes, little-endian, in C order."""
    return codes(probs).astype("<u2").tobytes()
