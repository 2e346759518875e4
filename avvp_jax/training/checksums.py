"""Checksums of arrays, computed on the devices that hold them, to detect damage on disk.

Without them Orbax would restore an array with a flipped byte and not notice.
"""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree, Shaped, UInt32

# name of a leaf -> its shape, its dtype and its checksum
Sums = dict[str, list]


def checksum(array: Shaped[Array | np.ndarray, "..."]) -> UInt32[Array, ""]:
    """A checksum of an array: the sum of its elements' bits, each mixed with its position.

    A change of one element always changes the checksum. Other changes go unnoticed with
    probability 2^-32. A sum of integers does not depend on its order, so the checksum does not
    depend on how devices share the array.
    """
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    bits = lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * array.dtype.itemsize}"))
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * size + lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    # The final mix of MurmurHash3 (Appleby, 2011): every input bit affects all output bits.
    mixed = bits.astype(jnp.uint32) ^ (place * jnp.uint32(0x9E3779B1))
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    return (mixed ^ (mixed >> 16)).sum(dtype=jnp.uint32)


_checksum = jax.jit(checksum)
_checksums = jax.jit(lambda leaves: jax.tree.map(checksum, leaves))


def checksums(tree: PyTree) -> Sums:
    """Checksums of a tree of arrays with elements of up to 32 bits; waits for the arrays."""
    leaves = named_leaves(tree)
    # A program for all leaves takes seconds to compile, so each leaf is summed alone. Devices that
    # share arrays would have to coordinate all those programs, so there one program sums all.
    on_devices = [leaf for leaf in leaves.values() if isinstance(leaf, jax.Array)]
    if any(len(leaf.sharding.device_set) > 1 for leaf in on_devices):
        sums = _checksums(leaves)
    else:
        sums = {name: _checksum(leaf) for name, leaf in leaves.items()}
    sums = jax.device_get(sums)
    return {
        name: [list(leaf.shape), str(leaf.dtype), int(sums[name])] for name, leaf in leaves.items()
    }


def named_leaves(tree: PyTree) -> dict:
    """Path of a leaf, with slashes -> the leaf."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def seal(sums: Sums) -> dict:
    """The record to store: the checksums, and a checksum of them."""
    return {"sums": sums, "seal": _text_checksum(sums)}


def unseal(record: object) -> Sums:
    """The checksums in a stored record.

    Raises:
      ValueError: the record is damaged.
    """
    if not isinstance(record, dict) or record.get("seal") != _text_checksum(record.get("sums")):
        raise ValueError("its checksums are damaged")
    return record["sums"]


def _text_checksum(sums: object) -> int:
    return zlib.crc32(json.dumps(sums, sort_keys=True).encode())
