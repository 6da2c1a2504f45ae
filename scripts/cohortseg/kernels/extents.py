"""Where the labels of an image lie, gathered window by window, and labels numbered anew by a list."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels._checks import check_labels
from cohortseg.kernels._jit import jit


class Extents(NamedTuple):
    """Each (n,): what is known of n labels, in ascending order, in pixels of the whole image."""

    labels: NDArray[np.uint32]
    y0: NDArray[np.int64]
    """First row."""
    x0: NDArray[np.int64]
    """First column."""
    y1: NDArray[np.int64]
    """End row."""
    x1: NDArray[np.int64]
    """End column."""
    areas: NDArray[np.int64]
    """Pixels."""
    sum_y: NDArray[np.int64]
    """Sum of the rows of the pixels."""
    sum_x: NDArray[np.int64]
    """Sum of the columns of the pixels."""


def label_extents(labels: Labels, origin: tuple[int, int]) -> Extents:
    """Measure the labels of a window.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background; any other values.
    origin
        (y0, x0): the pixel of the whole image that ``labels[0, 0]`` is.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    runs = _runs(check_labels(labels))
    values, y = runs[:, 0], runs[:, 1] + origin[0]
    x0, x1 = runs[:, 2] + origin[1], runs[:, 3] + origin[1]
    n = x1 - x0
    return _grouped(values.astype(np.uint32), (y, x0, y + 1, x1, n, n * y, n * (x0 + x1 - 1) // 2))


def merge_extents(parts: list[Extents]) -> Extents:
    """Return the extents of labels over several windows that share no pixel."""
    if not parts:
        parts = [label_extents(np.zeros((0, 0), np.uint32), (0, 0))]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return _grouped(columns[0], tuple(columns[1:]))


def _grouped(values: NDArray[np.uint32], columns: tuple[NDArray[np.int64], ...]) -> Extents:
    order = np.argsort(values, kind="stable")
    labels, starts = np.unique(values[order], return_index=True)
    if len(labels) == 0:
        return Extents(labels, *(np.empty(0, np.int64) for _ in columns))
    how = (np.minimum, np.minimum, np.maximum, np.maximum, np.add, np.add, np.add)
    return Extents(labels, *(f.reduceat(column[order], starts) for f, column in zip(how, columns, strict=True)))


@jit
def _runs(labels: Labels) -> NDArray[np.int64]:
    """Return (n, 4) int64: value, row, first and end column of each stretch of one label in a row."""
    height, width = labels.shape
    n = 0
    for y in range(height):
        for x in range(width):
            n += labels[y, x] != 0 and (x == 0 or labels[y, x - 1] != labels[y, x])
    runs = np.empty((n, 4), np.int64)
    n = 0
    for y in range(height):
        for x in range(width):
            value = labels[y, x]
            if value == 0:
                continue
            if x == 0 or labels[y, x - 1] != value:
                runs[n, 0], runs[n, 1], runs[n, 2] = value, y, x
            if x + 1 == width or labels[y, x + 1] != value:
                runs[n, 3] = x + 1
                n += 1
    return runs


def keep_labels(labels: Labels, kept: NDArray[np.uint32]) -> Labels:
    """Return labels numbered from 1 by their places in `kept`, all others as background.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background.
    kept
        (n,) uint32 in ascending order, without 0.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    return _keep_kernel(check_labels(labels), np.ascontiguousarray(kept))


@jit
def _keep_kernel(labels: Labels, kept: NDArray[np.uint32]) -> Labels:
    out = np.zeros_like(labels)
    before, number = np.uint32(0), np.uint32(0)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            value = labels[y, x]
            if value != before:
                place = np.searchsorted(kept, value)
                before = value
                number = np.uint32(place + 1) if place < kept.size and kept[place] == value else np.uint32(0)
            out[y, x] = number
    return out
