"""Sums over each cell's pixels, from which size, position and shape follow."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import TableError
from cohortseg.kernels._checks import check_labels
from cohortseg.kernels._jit import jit


class Sums(NamedTuple):
    """What has been added up so far, one row a cell; blocks may be added in any order.

    Coordinates are integers counted from each cell's own anchor, so that the sums are exact and lose no digits
    to a cell's distance from the image's corner.
    """

    cell_ids: NDArray[np.uint32]
    """(n,) labels, ascending, none of them 0."""

    anchors: NDArray[np.int64]
    """(n, 2) pixel (y, x) in or near each cell, from which its coordinates are counted."""

    moments: NDArray[np.int64]
    """(n, 6) number of pixels, Σy, Σx, Σyy, Σxx, Σyx."""

    crossings: NDArray[np.int64]
    """(n, 2) steps from a pixel of the cell to a neighbour that is not: along rows and columns, along diagonals."""

    tops: NDArray[np.int64]
    """(n,) the image's row that is the first of each cell's in `spans`."""

    starts: NDArray[np.int64]
    """(n + 1,): rows starts[i] up to starts[i + 1] of `spans` are the i-th cell's."""

    spans: NDArray[np.int32]
    """(rows, 2) first and last column of each cell's pixels in each of its rows; the first is the larger where there is
    no pixel."""


def empty_sums(cell_ids: NDArray[np.uint32], anchors: NDArray[np.int64], rows: NDArray[np.int64]) -> Sums:
    """Return sums of nothing for these cells; see `Sums` for the arrays.

    Parameters
    ----------
    rows
        (n, 2) int64: no pixel of a cell is above the first of these rows, nor at the last or below.
    """
    n_cells = cell_ids.size
    starts = np.zeros(n_cells + 1, np.int64)
    np.cumsum(rows[:, 1] - rows[:, 0], out=starts[1:])
    spans = np.empty((int(starts[-1]), 2), np.int32)
    spans[:] = np.iinfo(np.int32).max, -1
    return Sums(
        cell_ids,
        anchors,
        np.zeros((n_cells, 6), np.int64),
        np.zeros((n_cells, 2), np.int64),
        rows[:, 0].copy(),
        starts,
        spans,
    )


def add_sums(labels: Labels, origin: tuple[int, int], sums: Sums) -> None:
    """Add one block of labels to `sums`, in place.

    Parameters
    ----------
    labels
        (h + 2, w + 2) uint32: the block's labels with one pixel more on each side, 0 beyond the image. The rim
        is looked at where a cell meets it and not counted. 0 is background.
    origin
        (y, x) of the block's first pixel in the whole image.
    sums
        What to add to.

    Raises
    ------
    ImageError
        The labels are not uint32.
    TableError
        A label of the block is not among `sums.cell_ids`, or has a pixel beyond the rows it was to have. Sums of other
        cells may have been added to by then.
    """
    labels = check_labels(labels)
    unknown = _add(labels, origin[0], origin[1], sums)
    if unknown:
        raise TableError(
            f"the labels have a cell {unknown} that the table of cells has not, or not there",
            "labels and table come from one segmentation",
            "Segment the sample again.",
        )


@jit
def row_of(cell_ids: NDArray[np.uint32], label: np.uint32) -> np.int64:
    """Return the row of `label`, or -1 where it is not there."""
    row = np.int64(np.searchsorted(cell_ids, label))
    return row if row < cell_ids.size and cell_ids[row] == label else np.int64(-1)


@jit
def _add(labels: Labels, y0: int, x0: int, sums: Sums) -> np.int64:
    """Add a block run by run of equal labels along its rows; return the first label out of place, or 0."""
    height, width = labels.shape[0] - 2, labels.shape[1] - 2
    for i in range(height):
        start = 0
        while start < width:
            label = labels[i + 1, start + 1]
            stop = start + 1
            while stop < width and labels[i + 1, stop + 1] == label:
                stop += 1
            if label != 0:
                row = row_of(sums.cell_ids, label)
                if row < 0:
                    return np.int64(label)
                line = sums.starts[row] + y0 + i - sums.tops[row]
                if not sums.starts[row] <= line < sums.starts[row + 1]:
                    return np.int64(label)
                span = sums.spans[line]
                span[0], span[1] = min(span[0], x0 + start), max(span[1], x0 + stop - 1)
                y, left = y0 + i - sums.anchors[row, 0], x0 - sums.anchors[row, 1]
                _add_run(sums.moments[row], y, left + start, left + stop)
                _add_crossings(sums.crossings[row], labels, i + 1, start + 1, stop + 1)
            start = stop
    return np.int64(0)


@jit
def _add_run(moments: NDArray[np.int64], y: int, start: int, stop: int) -> None:
    """Add the pixels from `start` up to `stop` of row `y`."""
    length = stop - start
    sum_x, sum_xx = 0, 0
    for x in range(start, stop):
        sum_x += x
        sum_xx += x * x
    moments[0] += length
    moments[1] += length * y
    moments[2] += sum_x
    moments[3] += length * y * y
    moments[4] += sum_xx
    moments[5] += y * sum_x


@jit
def _add_crossings(crossings: NDArray[np.int64], labels: Labels, i: int, start: int, stop: int) -> None:
    """Add the steps out of the cell from the pixels `start` up to `stop` of row `i`, a whole run of one label."""
    label = labels[i, start]
    above, below = labels[i - 1, start - 1 : stop + 1], labels[i + 1, start - 1 : stop + 1]
    straight = int(labels[i, start - 1] != label) + int(labels[i, stop] != label)
    diagonal = 0
    for j in range(stop - start):
        straight += int(above[j + 1] != label) + int(below[j + 1] != label)
        diagonal += int(above[j] != label) + int(above[j + 2] != label)
        diagonal += int(below[j] != label) + int(below[j + 2] != label)
    crossings[0] += straight
    crossings[1] += diagonal
