"""How many pixels each cell of one labelling shares with each cell of another."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit
from cohortseg.kernels._pairs import doubled, slot_of

_FIRST_CAPACITY = 1 << 14
# Pixels looked at together: few enough to stay in the first cache. A multiple of 8, the bytes of a word.
_CHUNK_PX = 1 << 12


def count_overlaps(a: Labels, b: Labels) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Count the pixels that each pair of cells has in common.

    Time grows with the pixels, memory with the pairs alone: no table of all labels by all labels is made, and
    values need not be consecutive.

    Parameters
    ----------
    a, b
        uint32 of one shape, any number of axes; 0 is background in both. `count_overlaps(a, a)` gives areas.

    Returns
    -------
    pairs
        (n, 2) uint32: label in `a`, label in `b`; only pairs that share a pixel, sorted by `a`, then by `b`.
    counts
        (n,) int64: pixels in common, at least 1.

    Raises
    ------
    ImageError
        The arrays differ in shape or are not uint32.
    """
    for labels in (a, b):
        if labels.dtype != np.uint32:
            raise ImageError(
                f"labels are {labels.dtype}", "labels are uint32, 0 for background", "Convert them to uint32."
            )
    if a.shape != b.shape:
        raise ImageError(
            f"labels of shape {a.shape} are compared with labels of shape {b.shape}",
            "both have one shape",
            "Use labels that were made from the same image at the same size.",
        )
    keys, counts = _count_pairs(np.ravel(a), np.ravel(b))
    order = np.argsort(keys)
    keys = keys[order]
    pairs = np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32)
    return pairs, counts[order]


@jit
def _find_runs(a: Labels, b: Labels, changed: NDArray[np.uint8], starts: NDArray[np.int64]) -> int:
    """Write where each run of one pair starts, then the end of the last run; return the number of runs.

    Comparing all pixels first is a loop without branches, and most words of `changed` can then be skipped.
    """
    changed[0] = 1
    changed[a.size :] = 0
    for i in range(1, a.size):
        changed[i] = (a[i] != a[i - 1]) | (b[i] != b[i - 1])
    words = changed.view(np.uint64)
    n_runs = 0
    for word in range(words.size):
        if words[word] != np.uint64(0):
            for i in range(8 * word, 8 * word + 8):
                if changed[i]:
                    starts[n_runs] = i
                    n_runs += 1
    starts[n_runs] = a.size
    return n_runs


@jit
def _add_runs(
    a: Labels, b: Labels, starts: NDArray[np.int64], keys: NDArray[np.uint64], counts: NDArray[np.int64]
) -> int:
    """Add the runs to a table that has places for all of them; return the number of pairs that are new to it."""
    n_new = 0
    for run in range(starts.size - 1):
        left, right = a[starts[run]], b[starts[run]]
        if left != 0 and right != 0:
            key = (np.uint64(left) << np.uint64(32)) | np.uint64(right)
            slot = slot_of(keys, key)
            n_new += int(keys[slot] == np.uint64(0))
            keys[slot] = key
            counts[slot] += starts[run + 1] - starts[run]
    return n_new


@jit
def _count_pairs(a: Labels, b: Labels) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return key a << 32 | b and its count for each pair, unordered; one table look-up for each run of a pair.

    Neither label of a counted pair is 0, so that 0 can mark an empty place of the table.
    """
    keys = np.zeros(_FIRST_CAPACITY, np.uint64)
    counts = np.zeros(_FIRST_CAPACITY, np.int64)
    changed = np.empty(_CHUNK_PX, np.uint8)
    starts = np.empty(_CHUNK_PX + 1, np.int64)
    used = 0
    for first in range(0, a.size, _CHUNK_PX):
        left, right = a[first : first + _CHUNK_PX], b[first : first + _CHUNK_PX]
        n_runs = _find_runs(left, right, changed, starts)
        while 2 * (used + n_runs) > keys.size:
            keys, counts = doubled(keys, counts)
        used += _add_runs(left, right, starts[: n_runs + 1], keys, counts)
    filled = np.flatnonzero(keys)
    return keys[filled], counts[filled]
