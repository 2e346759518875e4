"""Files of noise ratios, in the format that JoMoLD publishes; also reads other people's files.

noise_ratios.npz   audio, visual: float64 [classes]
"""

import numpy as np

from avvp_jax.errors import UserError
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.storage.reading import read_npz
from avvp_jax.storage.writing import write_npz

LEAST_RATIO = 1e-9  # the smallest plausible ratio above 0: one video in 1e9
_RATIOS_AGAIN = (
    "give the published noise_ratios.npz, or one of a run of configs/jomold.py, or leave "
    "noise_ratios empty: a run makes its own"
)


def write_noise_ratios(path: str, ratios: NoiseRatios) -> None:
    """Writes a noise_ratios.npz."""
    write_npz(path, audio=ratios.audio, visual=ratios.visual)


def read_noise_ratios(path: str, classes: int) -> NoiseRatios:
    """Reads the noise ratios of `classes` classes from a noise_ratios.npz.

    Raises:
      UserError: the file is damaged, or a value is no ratio.
    """
    arrays = read_npz(path, ("audio", "visual"), _RATIOS_AGAIN)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.shape != (classes,):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected floats ({classes},); "
                f"{_RATIOS_AGAIN}"
            )
        # Numbers read with the wrong byte order are tiny, but not 0.
        if not ((array == 0) | (array >= LEAST_RATIO) & (array <= 1)).all():
            raise UserError(
                f"{path}: {name} holds values that are no ratios from 0 to 1; {_RATIOS_AGAIN}"
            )
    return NoiseRatios(**{name: array.astype(np.float64) for name, array in arrays.items()})
