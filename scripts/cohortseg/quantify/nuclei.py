"""Which nucleus belongs to which cell, from two segmentations of one image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.kernels.overlap import count_overlaps
from cohortseg.tiling.blocks import blocks


@dataclass(frozen=True)
class NucleusLinks:
    """The nuclei that share a pixel with a cell, and the cell that each belongs to."""

    nucleus_ids: NDArray[np.uint32]
    """(k,) ascending."""

    owners: NDArray[np.uint32]
    """(k,) the cell that holds most of each nucleus; the smaller `cell_id` where two hold as much."""

    shared_px: NDArray[np.int64]
    """(k,) pixels of each nucleus in that cell, at least 1."""

    def of_cells(self, cell_ids: NDArray[np.uint32]) -> pd.DataFrame:
        """Return for each cell `nucleus_id`, of its nuclei the one that fills most of it, and `n_nuclei`.

        `nucleus_id` (Int64) is missing where there is none; of two nuclei of one size it is the smaller.
        """
        order = np.lexsort((self.nucleus_ids, -self.shared_px, self.owners))
        owners, first, counts = np.unique(self.owners[order], return_index=True, return_counts=True)
        largest = pd.Series(self.nucleus_ids[order[first]], index=owners, dtype="Int64")
        n_nuclei = pd.Series(counts, index=owners, dtype=np.int64)
        return pd.DataFrame(
            {
                "nucleus_id": largest.reindex(cell_ids).array,
                "n_nuclei": n_nuclei.reindex(cell_ids, fill_value=0).array,
            }
        )


def link_nuclei(
    read_cells: Callable[[Box], Labels],
    read_nuclei: Callable[[Box], Labels],
    shape: tuple[int, int],
    block_px: int,
) -> NucleusLinks:
    """Return the links between the cells and the nuclei of an image of `shape`, read in blocks of `block_px`.

    Memory grows with the pairs of a nucleus and a cell that share a pixel.
    """
    keys, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for box in blocks(shape, block_px):
        nuclei = read_nuclei(box)
        if nuclei.any():
            pairs, shared_px = count_overlaps(nuclei, read_cells(box))
            keys.append(pairs[:, 0].astype(np.uint64) << np.uint64(32) | pairs[:, 1])
            counts.append(shared_px)
    key, place = np.unique(np.concatenate(keys), return_inverse=True)
    total_px = np.zeros(key.size, np.int64)
    np.add.at(total_px, place, np.concatenate(counts))
    nuclei, cells = (key >> np.uint64(32)).astype(np.uint32), (key & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    # Of each nucleus the cell with most of its pixels first, of equal ones that with the smaller id.
    order = np.lexsort((cells, -total_px, nuclei))
    nucleus_ids, first = np.unique(nuclei[order], return_index=True)
    return NucleusLinks(nucleus_ids, cells[order[first]], total_px[order[first]])
