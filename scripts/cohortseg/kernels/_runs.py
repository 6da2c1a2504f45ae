"""Runs of pixels: what polygons are as stretches of the rows of an image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.kernels._jit import jit


class Runs(NamedTuple):
    """Stretches of pixels of one row of an image, sorted by row, and within a row nearly by column."""

    first_row: int
    """The row of the image that `row_starts` begins with."""
    row_starts: NDArray[np.int64]
    """(rows + 1,) the first run of each row, and the end of the last."""
    spans: NDArray[np.uint64]
    """(n,) uint64: first column << 32 | end column. No run is empty."""
    cells: NDArray[np.uint32]
    """(n,) uint32: the number of the polygon, as the caller counts them."""


@jit
def by_row(
    rows: NDArray[np.int32], spans: NDArray[np.uint64], starts: NDArray[np.int64], first: np.uint32
) -> tuple[int, NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint32]]:
    """Sort runs by row; within a row, polygons come by their left ends, so that few runs are out of order."""
    if rows.size == 0:
        return 0, np.zeros(1, np.int64), spans, np.empty(0, np.uint32)
    top, bottom = rows.min(), rows.max() + 1
    row_starts = np.zeros(bottom - top + 1, np.int64)
    for run in range(rows.size):
        row_starts[rows[run] - top + 1] += 1
    for row in range(bottom - top):
        row_starts[row + 1] += row_starts[row]
    places = row_starts[:-1].copy()
    sorted_spans, cells = np.empty(rows.size, np.uint64), np.empty(rows.size, np.uint32)
    for polygon in _by_left_end(spans, starts):
        for run in range(starts[polygon], starts[polygon + 1]):
            place = places[rows[run] - top]
            places[rows[run] - top] += 1
            sorted_spans[place] = spans[run]
            cells[place] = first + np.uint32(polygon)
    return top, row_starts, sorted_spans, cells


@jit
def _by_left_end(spans: NDArray[np.uint64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the polygons that have runs by their first column, stable: a counting sort."""
    n = starts.size - 1
    left_ends = np.full(n, -1, np.int64)
    farthest = 0
    for polygon in range(n):
        for run in range(starts[polygon], starts[polygon + 1]):
            column = np.int64(spans[run] >> np.uint64(32))
            if left_ends[polygon] < 0 or column < left_ends[polygon]:
                left_ends[polygon] = column
        farthest = max(farthest, left_ends[polygon])
    places = np.zeros(farthest + 2, np.int64)
    for polygon in range(n):
        if left_ends[polygon] >= 0:
            places[left_ends[polygon] + 1] += 1
    for left_end in range(farthest + 1):
        places[left_end + 1] += places[left_end]
    order = np.empty(places[farthest + 1], np.int64)
    for polygon in range(n):
        if left_ends[polygon] >= 0:
            order[places[left_ends[polygon]]] = polygon
            places[left_ends[polygon]] += 1
    return order
