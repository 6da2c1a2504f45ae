"""An open-addressing table of 64-bit keys and their counts, for compiled loops."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.kernels._jit import jit


@jit
def slot_of(keys: NDArray[np.uint64], key: np.uint64) -> np.int64:
    """Return the place of `key` in an open-addressing table, or the empty place (0) where it belongs.

    The table's length is a power of two. Multiplicative hashing: Knuth, The Art of Computer Programming 3, 6.4.
    """
    mixed = (key ^ (key >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(33)) & np.int64(keys.size - 1)
    while keys[slot] != np.uint64(0) and keys[slot] != key:
        slot = (slot + np.int64(1)) & np.int64(keys.size - 1)
    return slot


@jit
def doubled(keys: NDArray[np.uint64], counts: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the table with twice as many places."""
    more_keys = np.zeros(2 * keys.size, np.uint64)
    more_counts = np.zeros(2 * keys.size, np.int64)
    for old in range(keys.size):
        if keys[old] != np.uint64(0):
            slot = slot_of(more_keys, keys[old])
            more_keys[slot] = keys[old]
            more_counts[slot] = counts[old]
    return more_keys, more_counts
