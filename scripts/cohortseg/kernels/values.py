"""The pixels' values of each cell, side by side, and what they come to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image, Labels
from cohortseg.kernels._jit import jit
from cohortseg.kernels.measure import row_of

MOMENTS = ("mean", "sum", "std", "min", "max")
"""The first columns of `describe_values`."""


class Gathered(NamedTuple):
    """The pixels of the cells of one block, those of each cell together."""

    rows: NDArray[np.int64]
    """(k,) places of the cells among all, in the order in which the block's raster meets them."""

    offsets: NDArray[np.int64]
    """(k + 1,): the pixels of the i-th of them are offsets[i] up to offsets[i + 1]."""

    values: Image
    """(channel, n) of the image's type; each cell's in raster order."""


def gather_values(
    labels: Labels, image: Image, cell_ids: NDArray[np.uint32], places: NDArray[np.int64]
) -> Gathered | int:
    """Return the pixels of each cell of a block together, or the first label that is none of the cells.

    Parameters
    ----------
    labels
        (h, w) uint32, 0 is background.
    image
        (channel, h, w), contiguous, of a type that numba knows.
    cell_ids
        (n,) ascending, none of them 0.
    places
        (n,) all -1, and so again afterwards: scratch, kept from block to block since it is large.
    """
    labels = np.ascontiguousarray(labels)  # one compiled loop for blocks and for parts of them
    most = min(labels.size, cell_ids.size)
    rows, counts = np.empty(most, np.int64), np.zeros(most, np.int64)
    n_rows, unknown = _count(labels, cell_ids, places, rows, counts)
    rows = rows[:n_rows]
    if unknown:
        places[rows] = -1
        return int(unknown)
    offsets = np.zeros(n_rows + 1, np.int64)
    np.cumsum(counts[:n_rows], out=offsets[1:])
    values = np.empty((image.shape[0], int(offsets[-1])), image.dtype)
    _fill(labels, image, cell_ids, places, offsets[:-1].copy(), values)
    places[rows] = -1
    return Gathered(rows, offsets, values)


def describe_values(
    values: Image, offsets: NDArray[np.int64], quantiles: NDArray[np.float64], ordered: bool
) -> NDArray[np.float64]:
    """Return what the values of each cell come to.

    Parameters
    ----------
    values, offsets
        As in `Gathered`. The values are sorted in place where that is needed.
    quantiles
        (q,) from 0 to 1.
    ordered
        Sort even where no quantile is asked for, so that sums of fractions do not depend on the pixels' order.

    Returns
    -------
    NDArray
        (cell, channel, 5 + q) float64: `MOMENTS`, with the standard deviation of the whole population, as numpy's, and
        the quantiles, between two values on the line between them, as `numpy.quantile`; a quantile that is one of the
        values, or between two equal ones, is that value even where it is beside an infinite one, which numpy makes NaN.
        NaN for a cell without pixels, where a value is NaN, and where infinite values leave nothing else: the
        standard deviation, and the sum of both infinities.
    """
    found = np.full((offsets.size - 1, values.shape[0], len(MOMENTS) + quantiles.size), np.nan)
    _describe(values, offsets, quantiles, ordered or quantiles.size > 0, found)
    return found


@jit
def _count(
    labels: Labels,
    cell_ids: NDArray[np.uint32],
    places: NDArray[np.int64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Number the cells as they come and count their pixels; return how many there are, and an unknown label or 0."""
    n_rows = 0
    for i in range(labels.shape[0]):
        last, place = np.uint32(0), np.int64(0)
        for j in range(labels.shape[1]):
            label = labels[i, j]
            if label == 0:
                continue
            if label != last:
                row = row_of(cell_ids, label)
                if row < 0:
                    return n_rows, int(label)
                if places[row] < 0:
                    places[row] = n_rows
                    rows[n_rows] = row
                    n_rows += 1
                last, place = label, places[row]
            counts[place] += 1
    return n_rows, 0


@jit
def _fill(
    labels: Labels,
    image: Image,
    cell_ids: NDArray[np.uint32],
    places: NDArray[np.int64],
    free: NDArray[np.int64],
    values: Image,
) -> None:
    """Copy the pixels of each cell to its next free place."""
    for i in range(labels.shape[0]):
        last, place = np.uint32(0), np.int64(0)
        for j in range(labels.shape[1]):
            label = labels[i, j]
            if label == 0:
                continue
            if label != last:
                last, place = label, places[row_of(cell_ids, label)]
            for channel in range(image.shape[0]):
                values[channel, free[place]] = image[channel, i, j]
            free[place] += 1


@jit
def _describe(
    values: Image,
    offsets: NDArray[np.int64],
    quantiles: NDArray[np.float64],
    ordered: bool,
    found: NDArray[np.float64],
) -> None:
    for cell in range(offsets.size - 1):
        for channel in range(values.shape[0]):
            own = values[channel, offsets[cell] : offsets[cell + 1]]
            if own.size:
                if ordered:
                    own.sort()  # NaN last
                _describe_one(own, quantiles, found[cell, channel])


@jit
def _describe_one(own: Image, quantiles: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    total, least, most = 0.0, np.float64(own[0]), np.float64(own[0])
    for value in own:
        as_float = np.float64(value)
        if np.isnan(as_float):
            return
        total += as_float
        least, most = min(least, as_float), max(most, as_float)
    mean, squares = total / own.size, 0.0
    for value in own:
        squares += (np.float64(value) - mean) ** 2
    found[0], found[1], found[2] = mean, total, np.sqrt(squares / own.size)
    found[3], found[4] = least, most
    for k in range(quantiles.size):
        place = quantiles[k] * (own.size - 1)
        below = int(place)
        lower, upper = np.float64(own[below]), np.float64(own[min(below + 1, own.size - 1)])
        # Infinite values have no difference.
        whole = place == below or lower == upper
        found[5 + k] = lower if whole else lower + (place - below) * (upper - lower)
