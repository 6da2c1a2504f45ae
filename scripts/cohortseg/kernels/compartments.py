"""Which pixels are of a cell's nucleus, of its cytoplasm, or of the ring around it."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels._checks import check_labels
from cohortseg.kernels._jit import jit
from cohortseg.kernels.measure import row_of


def split_by_nuclei(
    cells: Labels, nuclei: Labels, nucleus_ids: NDArray[np.uint32], owners: NDArray[np.uint32]
) -> tuple[Labels, Labels]:
    """Return the labels of the cells within their own nuclei, and outside of any nucleus.

    Pixels of a cell within the nucleus of another cell are in neither.

    Parameters
    ----------
    cells, nuclei
        (h, w) uint32 of one shape; 0 is background in both.
    nucleus_ids
        (k,) ascending, none of them 0; a nucleus that is not among them is no cell's.
    owners
        (k,) uint32: the cell that each of them belongs to.

    Returns
    -------
    nucleus, cytoplasm
        (h, w) uint32: the cell's label, 0 elsewhere.

    Raises
    ------
    ImageError
        The labels are not uint32.
    """
    cells, nuclei = check_labels(cells), check_labels(nuclei)
    nucleus, cytoplasm = np.zeros_like(cells), np.zeros_like(cells)
    _split(cells, nuclei, nucleus_ids, owners, nucleus, cytoplasm)
    return nucleus, cytoplasm


def ring_labels(labels: Labels, reach_px: int) -> Labels:
    """Return for each pixel of no cell the cell that is nearest to it, if that is within reach.

    Distances are Euclidean, between centres of pixels; of cells that are equally near, the smaller label wins. As
    `skimage.segmentation.expand_labels`, which leaves ties open, without the cells themselves.

    Parameters
    ----------
    labels
        (h + 2 reach, w + 2 reach) uint32: a block's labels with `reach_px` pixels more on each side, 0 beyond the
        image; 0 is background.
    reach_px
        Largest distance, at least 1.

    Returns
    -------
    NDArray
        (h, w) uint32: the block's; 0 in cells and beyond their reach.

    Raises
    ------
    ImageError
        The labels are not uint32.
    """
    labels = check_labels(labels)
    height, width = labels.shape[0] - 2 * reach_px, labels.shape[1] - 2 * reach_px
    steps = np.empty((height, labels.shape[1]), np.int32)
    nearest = np.zeros((height, labels.shape[1]), np.uint32)
    _look_along_columns(labels, reach_px, steps, nearest)
    ring = np.zeros((height, width), np.uint32)
    _look_along_rows(labels, reach_px, steps, nearest, ring)
    return ring


@jit
def _split(
    cells: Labels,
    nuclei: Labels,
    nucleus_ids: NDArray[np.uint32],
    owners: NDArray[np.uint32],
    nucleus: Labels,
    cytoplasm: Labels,
) -> None:
    for i in range(cells.shape[0]):
        last, owner = np.uint32(0), np.uint32(0)
        for j in range(cells.shape[1]):
            if cells[i, j] == 0:
                continue
            if nuclei[i, j] == 0:
                cytoplasm[i, j] = cells[i, j]
                continue
            if nuclei[i, j] != last:
                last = nuclei[i, j]
                row = row_of(nucleus_ids, last)
                owner = owners[row] if row >= 0 else np.uint32(0)
            if owner == cells[i, j]:
                nucleus[i, j] = owner


@jit
def _look_along_columns(labels: Labels, reach: int, steps: NDArray[np.int32], nearest: Labels) -> None:
    """Find in each column the label nearest to each pixel of the block's rows, and how many rows away it is.

    Beyond reach, `steps` is reach + 1. Of a column no other label matters, since all are farther away from any pixel
    of this row.
    """
    height, width = steps.shape
    seen = np.full(width, -reach - 1, np.int64)
    for i in range(height + reach):
        for j in range(width):
            if labels[i, j] != 0:
                seen[j] = i
            if i >= reach:
                away = i - seen[j]
                steps[i - reach, j] = min(away, reach + 1)
                nearest[i - reach, j] = labels[seen[j], j] if away <= reach else 0
    seen[:] = height + 3 * reach
    for i in range(height + 2 * reach - 1, reach - 1, -1):
        for j in range(width):
            if labels[i, j] != 0:
                seen[j] = i
            away = seen[j] - i
            if i < height + reach and away <= reach and away <= steps[i - reach, j]:
                label, above = labels[seen[j], j], nearest[i - reach, j]
                nearest[i - reach, j] = min(label, above) if away == steps[i - reach, j] else label
                steps[i - reach, j] = away


@jit
def _look_along_rows(labels: Labels, reach: int, steps: NDArray[np.int32], nearest: Labels, ring: Labels) -> None:
    """Take the nearest of the columns' nearest, from a pixel's own column outwards."""
    for i in range(ring.shape[0]):
        for j in range(ring.shape[1]):
            if labels[i + reach, j + reach] != 0:
                continue
            least, best = np.int64(reach * reach + 1), np.uint32(0)
            for k in range(reach + 1):
                if k * k > least:
                    break
                for column in (j + reach - k, j + reach + k):
                    away = np.int64(steps[i, column])
                    square = k * k + away * away
                    if square < least or (square == least and nearest[i, column] < best):
                        least, best = square, nearest[i, column]
            ring[i, j] = best
