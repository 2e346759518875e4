"""Checksums of arrays, computed where they lie, to tell what a disk has changed.

Orbax restores an array in which a byte was flipped without a word.
"""

import json
import zlib

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Num, PyTree, UInt32

# name of a leaf -> its shape, its dtype and its checksum
Sums = dict[str, list]


def checksum(array: Num[Array, "..."]) -> UInt32[Array, ""]:
    """A sum over the bits of all elements, each mixed with its place.

    A change in one element always changes it; other changes escape once in 2^32 times.
    Sums of integers do not depend on their order, so neither does this on the devices that
    hold the array.
    """
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    bits = lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * array.dtype.itemsize}"))
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * size + lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    # How MurmurHash3 (Appleby, 2011) ends: a change of any bit spreads to all.
    mixed = bits.astype(jnp.uint32) ^ (place * jnp.uint32(0x9E3779B1))
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    return (mixed ^ (mixed >> 16)).sum(dtype=jnp.uint32)


# One program for all leaves: devices that share many arrays agree on one thing at a time.
_checksums = jax.jit(lambda leaves: jax.tree.map(checksum, leaves))


def checksums(tree: PyTree) -> Sums:
    """The checksums of a tree of arrays of up to 32 bits; waits for the arrays."""
    leaves = named_leaves(tree)
    sums = jax.device_get(_checksums(leaves))
    return {
        name: [list(leaf.shape), str(leaf.dtype), int(sums[name])] for name, leaf in leaves.items()
    }


def named_leaves(tree: PyTree) -> dict:
    """The leaves of a tree by their paths, written with slashes."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def seal(sums: Sums) -> dict:
    """Checksums as they are stored: with a checksum of their own."""
    return {"sums": sums, "seal": _of_text(sums)}


def unseal(record: dict) -> Sums:
    """Stored checksums.

    Raises:
      ValueError: they are not what was stored.
    """
    if not isinstance(record, dict) or record.get("seal") != _of_text(record.get("sums")):
        raise ValueError("its checksums are damaged")
    return record["sums"]


def _of_text(sums: Sums) -> int:
    return zlib.crc32(json.dumps(sums, sort_keys=True).encode())
