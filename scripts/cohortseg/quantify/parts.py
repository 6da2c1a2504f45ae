"""The labels of the compartments of cells, block by block."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.kernels.compartments import ring_labels, split_by_nuclei
from cohortseg.quantify.nuclei import NucleusLinks
from cohortseg.quantify.wanted import CELL, CYTOPLASM, NUCLEUS, RING


@dataclass(frozen=True)
class Parts:
    """The labels of one block, 0 where there is nothing."""

    rimmed: Labels
    """(h + 2, w + 2) of the cells, with one pixel more on each side, 0 beyond the image."""

    labels: dict[str, Labels]
    """By compartment, (h, w): the cell that each pixel is of."""

    nuclei: Labels | None
    """(h, w) of all nuclei; None where only cells were segmented."""

    def occupied(self) -> bool:
        """Tell whether there is any pixel to measure."""
        return any(labels.any() for labels in self.labels.values())

    def outside(self) -> NDArray[np.bool_]:
        """Return (h, w): whether a pixel is outside of all cells, nuclei and rings."""
        outside: NDArray[np.bool_] = self.labels[CELL] == 0
        for other in (self.nuclei, self.labels.get(RING)):
            if other is not None:
                outside &= other == 0
        return outside


@dataclass(frozen=True)
class PartReader:
    """Gives the labels of the compartments of any block.

    Parameters
    ----------
    read_cells, read_nuclei
        Give the labels of any box of the image; there may be no nuclei.
    links
        Which nucleus is which cell's; None where there are no nuclei.
    shape
        (y, x) of the image.
    ring_px
        Reach of the rings, None where there are none.
    """

    read_cells: Callable[[Box], Labels]
    read_nuclei: Callable[[Box], Labels] | None
    links: NucleusLinks | None
    shape: tuple[int, int]
    ring_px: int | None

    def read(self, box: Box) -> Parts:
        """Return the labels of a block."""
        halo = self.ring_px or 1
        around = self._with_halo(box, halo)
        labels, nuclei = {CELL: _inner(around, halo)}, None
        if self.read_nuclei is not None and self.links is not None:
            nuclei = self.read_nuclei(box)
            labels[NUCLEUS], labels[CYTOPLASM] = split_by_nuclei(
                labels[CELL], nuclei, self.links.nucleus_ids, self.links.owners
            )
        if self.ring_px is not None:
            labels[RING] = ring_labels(around, self.ring_px)
        return Parts(_inner(around, halo - 1), labels, nuclei)

    def _with_halo(self, box: Box, halo: int) -> Labels:
        """Return the labels of a block with so many pixels more on each side, 0 beyond the image."""
        needed = box.grown(halo, self.shape)
        labels = np.zeros((box.height + 2 * halo, box.width + 2 * halo), np.uint32)
        labels[needed.shifted(halo - box.y0, halo - box.x0).slices] = self.read_cells(needed)
        return labels


def _inner(labels: Labels, margin: int) -> Labels:
    """Return labels without a margin on each side."""
    return labels[margin : labels.shape[0] - margin, margin : labels.shape[1] - margin]
