"""Checksums of arrays, computed where the arrays are, to detect damage on disk.

Without them Orbax would restore an array with a flipped byte and not notice.
"""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree, Shaped, UInt32

BLOCK = 2**16  # elements, so that what is computed of them stays in the caches
Word = UInt32[Array | np.ndarray, "*shape"]
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
    return _mixed(bits.astype(jnp.uint32), place).sum(dtype=jnp.uint32)


def host_checksum(array: Shaped[np.ndarray, "..."]) -> np.uint32:
    """The same checksum of an array in the host's memory, without a program to compile."""
    bits, total = array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}"), np.zeros((), np.uint32)
    for start in range(0, array.size, BLOCK):
        block = bits[start : start + BLOCK].astype(np.uint32)
        place = np.arange(start, start + len(block)).astype(np.uint32)
        total = total + _mixed(block, place).sum(dtype=np.uint32, keepdims=True)
    return total.sum(dtype=np.uint32)


def _mixed(bits: Word, place: Word) -> Word:
    """The final mix of MurmurHash3 (Appleby, 2011): every input bit affects all output bits."""
    mixed = bits ^ (place * np.uint32(0x9E3779B1))
    mixed = (mixed ^ (mixed >> 16)) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> 16)


_checksum = jax.jit(checksum)
_checksums = jax.jit(lambda leaves: jax.tree.map(checksum, leaves))


def checksums(tree: PyTree) -> Sums:
    """Checksums of a tree of arrays with elements of up to 32 bits; waits for the arrays."""
    leaves = named_leaves(tree)
    sums = {name: host_checksum(np.asarray(x)) for name, x in leaves.items() if _on_host(x)}
    away = {name: leaf for name, leaf in leaves.items() if name not in sums}
    # A program for all leaves takes seconds to compile, so each leaf is summed alone. Devices that
    # share arrays would have to coordinate all those programs, so there one program sums all.
    if any(len(leaf.sharding.device_set) > 1 for leaf in away.values()):
        sums |= jax.device_get(_checksums(away))
    else:
        sums |= jax.device_get({name: _checksum(leaf) for name, leaf in away.items()})
    return {
        name: [list(leaf.shape), str(leaf.dtype), int(sums[name])] for name, leaf in leaves.items()
    }


def _on_host(leaf: Array | np.ndarray) -> bool:
    """Whether the whole array is in this process's memory."""
    if not isinstance(leaf, jax.Array):
        return True
    whole = leaf.is_fully_addressable or leaf.is_fully_replicated
    return whole and all(device.platform == "cpu" for device in leaf.sharding.device_set)


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
