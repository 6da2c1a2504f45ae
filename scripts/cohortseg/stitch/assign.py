"""Which overlaps of two planes become links: rules that choose one-to-one pairs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cohortseg.kernels.match import match_pairs

Rows = NDArray[np.int64]

Rule = Callable[[Rows, Rows, NDArray[np.float64]], Rows]
"""Takes (n,) cells below, cells above (as row numbers) and IoU of pairs sorted by these two; gives the places of those
that become links, in no order, each cell at most once."""


def choose_best(lower: Rows, upper: Rows, iou: NDArray[np.float64]) -> Rows:
    """Let each lower cell want its best upper cell, and give each upper cell the best of those that want it.

    Of equal IoU the smaller row number counts as better, on both sides.
    """
    wanted = _largest_of_each(lower, iou)
    by_upper = wanted[np.argsort(upper[wanted], kind="stable")]
    return by_upper[_largest_of_each(upper[by_upper], iou[by_upper])]


def choose_optimal(lower: Rows, upper: Rows, iou: NDArray[np.float64]) -> Rows:
    """Choose the one-to-one pairs with the largest total IoU, which is that of each group of connected cells.

    Of several choices with that total, `match_pairs` says which.
    """
    return match_pairs(lower, upper, iou)


def _largest_of_each(keys: Rows, values: NDArray[np.float64]) -> Rows:
    """Return the place of the largest value of each run of equal keys, the first of equal ones."""
    if not keys.size:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    largest = np.repeat(np.maximum.reduceat(values, starts), np.diff(starts, append=keys.size))
    places = np.flatnonzero(values == largest)
    return places[np.searchsorted(places, starts)]
