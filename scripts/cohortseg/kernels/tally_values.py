"""Counts of 16-bit values within cells and outside them, and of the pixels of cells by tile."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit


def count_values(values: NDArray[np.uint16], labels: Labels, counts: NDArray[np.int64]) -> None:
    """Add the values of a block to `counts`, (2, 65536) int64: those where `labels` are 0, and those of cells.

    `values` and `labels` are (y, x) of one shape; ImageError where they are not.
    """
    if values.shape != labels.shape:
        raise ImageError(f"labels of {labels.shape}", f"expected {values.shape}", "Give labels of the same pixels.")
    _count_values(values, labels, counts)


def count_covered(
    labels: Labels, tile_of: tuple[NDArray[np.int64], NDArray[np.int64]], counts: NDArray[np.int64]
) -> None:
    """Add the pixels of cells of a block to the (tile rows, tile columns) `counts`.

    `tile_of` gives the tile's row and column of each row and column of `labels` (y, x).
    """
    _count_covered(labels, tile_of[0], tile_of[1], counts)


@jit
def _count_values(values: NDArray[np.uint16], labels: Labels, counts: NDArray[np.int64]) -> None:
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            counts[1 if labels[y, x] else 0, values[y, x]] += 1


@jit
def _count_covered(
    labels: Labels, row_of: NDArray[np.int64], column_of: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x]:
                counts[row_of[y], column_of[x]] += 1
