"""Overlaps between two planes whose pixels can be looked at, block by block; for files, see `stitch.sweep`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import StackError
from cohortseg.kernels.overlap import count_overlaps
from cohortseg.tiling.blocks import blocks

BLOCK_PX = 2048
"""Side of the blocks that planes are read in: two of them are 32 MiB. No result depends on it."""

Counts = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""(n, 2) pairs of labels and the (n,) pixels that they share."""


@dataclass(frozen=True)
class Plane:
    """One segmented plane of a stack: a table of its cells and a way to look at its pixels.

    Parameters
    ----------
    z_index
        Place in the stack's order; planes follow each other in this order, whatever the gaps between indices.
    shape
        (y, x) of the plane, one for the whole stack.
    cell_ids
        (n,) int64: labels of the plane's cells, ascending, from 1 to 2³² - 1.
    areas
        (n,) int64: pixels of each.
    read
        Gives the labels of any box of the plane.
    """

    z_index: int
    shape: tuple[int, int]
    cell_ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    read: Callable[[Box], Labels]

    def areas_of(self, labels: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the area of each of `labels`.

        Raises
        ------
        StackError
            A label is not among the plane's cells.
        """
        if not labels.size:
            return np.zeros(0, np.int64)
        rows = np.searchsorted(self.cell_ids, labels)
        known = rows < self.cell_ids.size
        known[known] = self.cell_ids[rows[known]] == labels[known]
        if not known.all():
            raise StackError(
                f"plane {self.z_index} has pixels of a cell {labels[~known][0]} that its table of cells has not",
                "pixels and table come from one segmentation",
                "Segment the plane again.",
            )
        return self.areas[rows]


def plane_overlaps(below: Plane, above: Plane, *, block_px: int) -> pd.DataFrame:
    """Find the cells of two planes that share pixels.

    Parameters
    ----------
    below, above
        Planes of one shape.
    block_px
        Side of the blocks that are read at a time; the result does not depend on it.

    Returns
    -------
    DataFrame
        `lower_id`, `upper_id`, `overlap_px` (int64) and `iou` (float64, intersection over union of the two
        cells' pixels), sorted by `lower_id`, then `upper_id`.

    Raises
    ------
    StackError
        A plane has pixels of a cell that is not among its `cell_ids`.
    """
    by_block = []
    if below.cell_ids.size and above.cell_ids.size:
        by_block = [count_overlaps(below.read(box), above.read(box)) for box in blocks(below.shape, block_px)]
    return _overlap_table(below, above, by_block)


_NOTHING: Counts = (np.zeros((0, 2), np.uint32), np.zeros(0, np.int64))


def _overlap_table(below: Plane, above: Plane, by_block: Sequence[Counts]) -> pd.DataFrame:
    """Add up the blocks: a pair of cells that lie in several of them was counted in each."""
    pairs = np.concatenate([_NOTHING[0], *(pairs for pairs, _ in by_block)])
    # One 64-bit key a pair sorts several times faster than its two columns.
    keys = (pairs[:, 0].astype(np.uint64) << np.uint64(32)) | pairs[:, 1]
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=np.uint64(0)))
    pairs = pairs[order[starts]]
    overlap = np.concatenate([_NOTHING[1], *(counts for _, counts in by_block)])[order]
    overlap = np.add.reduceat(overlap, starts) if starts.size else overlap
    union = below.areas_of(pairs[:, 0]) + above.areas_of(pairs[:, 1]) - overlap
    return pd.DataFrame(
        {
            "lower_id": pairs[:, 0].astype(np.int64),
            "upper_id": pairs[:, 1].astype(np.int64),
            "overlap_px": overlap,
            "iou": overlap / union,
        },
    )
