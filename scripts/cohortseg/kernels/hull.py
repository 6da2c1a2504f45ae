"""The convex hull of each cell, as scikit-image counts its pixels."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.kernels._jit import jit

NOWHERE = np.iinfo(np.int64).max
"""A line without a point."""


def count_hull_pixels(spans: NDArray[np.int32], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many pixels the convex hull of each cell has, its own among them.

    As `skimage.morphology.convex_hull_image`: of each pixel the four middles of its sides are taken, not its corners,
    and a pixel is in the hull of all of these where its centre is, or is on the hull's border. All in whole numbers
    of half pixels, so that no tie is left to rounding. The hull is A. M. Andrew's (1979, Information Processing
    Letters 9:216), of the left and of the right side apart.

    Parameters
    ----------
    spans
        (rows, 2) first and last column of the cells' pixels in each of their rows, the rows of one cell after those
        of the other; a row without a pixel has a first column above its last.
    starts
        (n + 1,): the rows of the i-th cell are starts[i] up to starts[i + 1].

    Returns
    -------
    NDArray
        (n,) int64; 0 for a cell without a pixel.
    """
    found = np.zeros(starts.size - 1, np.int64)
    _count_all(spans, starts, found)
    return found


@jit
def _count_all(spans: NDArray[np.int32], starts: NDArray[np.int64], found: NDArray[np.int64]) -> None:
    for cell in range(found.size):
        rows = spans[starts[cell] : starts[cell + 1]].astype(np.int64)
        firsts, lasts = _hull_side(rows[:, 0], rows), _hull_side(-rows[:, 1], rows)
        for k in range(len(rows)):
            if firsts[k] != NOWHERE:
                found[cell] += -lasts[k] - firsts[k] + 1


@jit
def _hull_side(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first column within the hull in each row, from the first column of the pixels in each.

    `NOWHERE` above and below the cell.
    """
    n_rows = columns.size
    points = _points(columns, rows)
    hull = np.empty(points.size, np.int64)  # lines of the corners so far, from above
    size = 0
    for line in range(points.size):
        if points[line] == NOWHERE:
            continue
        while size > 1 and not _turns(points, hull[size - 2], hull[size - 1], line):
            size -= 1
        hull[size] = line
        size += 1
    inside = np.full(n_rows, NOWHERE)
    for k in range(size - 1):
        above, below = hull[k], hull[k + 1]
        height, lean = below - above, points[below] - points[above]
        for line in range(above + (above + 1) % 2, below + 1, 2):
            # A pixel's centre is on odd lines, and at even places: the next of these, rounded up.
            inside[line // 2] = -((-points[above] * height - lean * (line - above)) // (2 * height))
    return inside


@jit
def _points(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the leftmost middle of a pixel's side on each line, in half pixels; row k has the lines 2k to 2k + 2."""
    points = np.full(2 * columns.size + 1, NOWHERE)
    for k in range(columns.size):
        if rows[k, 0] <= rows[k, 1]:
            points[2 * k] = min(points[2 * k], 2 * columns[k])
            points[2 * k + 1] = 2 * columns[k] - 1
            points[2 * k + 2] = 2 * columns[k]
    return points


@jit
def _turns(points: NDArray[np.int64], above: int, middle: int, below: int) -> bool:
    """Tell whether the middle line's point is left of the straight line between the two others."""
    across = (points[middle] - points[above]) * (below - above)
    return bool(across < (points[below] - points[above]) * (middle - above))
