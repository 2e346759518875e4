"""Checksums of arrays, on devices and on the host."""

import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.training.checksums import BLOCK, checksum, host_checksum


@pytest.mark.parametrize("checksum", [checksum, host_checksum])
def test_a_checksum_tells_every_changed_element_and_place(checksum):
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.int32, np.uint8, jnp.bfloat16):
        array = (100 * rng.standard_normal((5, 7))).astype(dtype)
        known = {int(checksum(array)), int(checksum(array[::-1])), int(checksum(array.T))}
        for index in np.ndindex(array.shape):
            changed = np.array(array).view(f"u{array.itemsize}")
            changed[index] ^= 1
            known.add(int(checksum(changed.view(array.dtype))))
        assert len(known) == 3 + array.size


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.bool_, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 70)])
def test_host_and_devices_sum_alike(dtype, shape):
    drawn = np.asarray(100 * np.random.default_rng(0).standard_normal(shape))
    array = np.asarray(drawn > 0) if dtype is np.bool_ else drawn.astype(dtype)
    for each in (array, array.T):
        assert int(host_checksum(each)) == int(checksum(jnp.asarray(each)))


def test_a_large_array_is_summed_in_blocks():
    array = np.arange(2 * BLOCK + 3, dtype=np.float32)
    assert int(host_checksum(array)) == int(checksum(jnp.asarray(array)))
