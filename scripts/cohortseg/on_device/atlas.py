"""The cells of a window side by side, so that heat can spread in all of them at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDTH_PX = 4096


@dataclass(frozen=True)
class Atlas:
    """Where the boxes of cells lie: in shelves, those in which heat spreads longest first, a pixel of nothing between.

    Attributes
    ----------
    shape
        (rows, columns), with a frame of one pixel.
    tops, lefts
        (n,) int64: the first row and column of each cell's box.
    order
        (n,) int64: the cells by falling number of steps.
    steps
        (n,) int64, falling: the steps of the cells in this order, as `kernels.targets` has them.
    bottoms
        (n,) int64, rising: the rows that hold the cells up to each in this order, with the pixel below them.
    """

    shape: tuple[int, int]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    order: NDArray[np.int64]
    steps: NDArray[np.int64]
    bottoms: NDArray[np.int64]


def plan_atlas(heights: NDArray[np.int64], widths: NDArray[np.int64]) -> Atlas:
    """Lay boxes of the given sides, at least one, onto shelves as wide as all of them together would be high."""
    steps = 2 * (heights + widths + 2)
    order = np.argsort(-steps, kind="stable")
    square = int(np.sqrt(((heights + 1) * (widths + 1)).sum()))
    width = max(int(widths.max()), min(square, _WIDTH_PX)) + 2
    ends = np.cumsum(widths[order] + 1)
    tops, lefts, bottoms = (np.empty(len(order), np.int64) for _ in range(3))
    first, y = 0, 1
    while first < len(order):
        start = ends[first] - widths[order[first]] - 1
        stop = int(np.searchsorted(ends, start + width - 1, side="right"))
        cells = order[first:stop]
        tops[cells] = y
        lefts[cells] = 1 + ends[first:stop] - widths[cells] - 1 - start
        y += int(heights[cells].max()) + 1
        bottoms[first:stop] = y
        first = stop
    return Atlas((y, width), tops, lefts, order, steps[order], bottoms)
