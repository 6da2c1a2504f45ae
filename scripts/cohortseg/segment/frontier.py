"""The cells that reach out of their window: what keeps cells of neighbouring windows apart."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.kernels.clean import areas, largest_pieces, relabel
from cohortseg.segment.cells import WindowCells

# A cell of which less than this share is left, once earlier windows have their pixels, is the same cell again.
_DUPLICATE_SHARE = 0.5


@dataclass(frozen=True)
class _Claim:
    box: Box
    mask: NDArray[np.bool_]


class Frontier:
    """Pixels that cells already given out have taken, where later windows see them.

    Windows see the same field and so agree on every cell that they see whole; that all polygons are disjoint is
    nevertheless enforced here, and what had to be taken away is counted. A pixel goes to the first window, in the
    order of the plan, that found a cell there, whether or not that cell then lost it to a window before: so what
    a window gives out depends on what the windows around it found, not on what they gave out. The result does not
    depend on the number of workers, nor on the parts into which the image is cut.

    Attributes
    ----------
    overlap_px
        Pixels that two windows both gave to a cell of their own.
    duplicates
        Cells dropped since another window had already given them out.
    """

    def __init__(self) -> None:
        self._claims: list[_Claim] = []
        self.overlap_px = 0
        self.duplicates = 0

    def forget(self, seen: Box, next_x0: int) -> None:
        """Drop the claims that no later window sees.

        Parameters
        ----------
        seen
            What this and all later windows of the strip see.
        next_x0
            First column that the windows of later strips see.
        """
        self._claims = [
            claim
            for claim in self._claims
            if claim.box.x1 > seen.x0 and (claim.box.y1 > seen.y0 or claim.box.x1 > next_x0)
        ]

    def settle(self, cells: WindowCells) -> WindowCells:
        """Return the window's cells without the pixels taken before, and claim those that other windows see."""
        settled = self._without_taken(cells)
        self.claim(cells)
        return settled

    def claim(self, cells: WindowCells) -> None:
        """Claim the pixels of a window's cells that other windows see."""
        for box, mask in _outside(cells.labels, cells.inner.shifted(-cells.outer.y0, -cells.outer.x0)):
            self._claims.append(_Claim(box.shifted(cells.outer.y0, cells.outer.x0), mask))

    def _without_taken(self, cells: WindowCells) -> WindowCells:
        taken = np.zeros(cells.labels.shape, np.bool_)
        for claim in self._claims:
            part = claim.box.intersection(cells.outer)
            if part.height and part.width:
                target = part.shifted(-cells.outer.y0, -cells.outer.x0).slices
                taken[target] |= claim.mask[part.shifted(-claim.box.y0, -claim.box.x0).slices]
        overlap = int(np.count_nonzero(cells.labels[taken]))
        if not overlap:
            return cells
        self.overlap_px += overlap
        before = areas(cells.labels)
        remaining = cells.labels.copy()
        remaining[taken] = 0
        remaining = largest_pieces(remaining)
        after = np.bincount(remaining.ravel(), minlength=len(before))
        keep = after >= np.maximum(_DUPLICATE_SHARE * before, 1)
        self.duplicates += int(np.count_nonzero(~keep[1:]))
        return replace(
            cells,
            labels=relabel(remaining, keep),
            scores=cells.scores[keep[1:]],
            flow_errors=cells.flow_errors[keep[1:]],
        )


def _outside(labels: Labels, inner: Box) -> list[tuple[Box, NDArray[np.bool_]]]:
    """Return the non-empty bands around a box, cut to the labelled pixels, as box and mask."""
    height, width = labels.shape
    bands = (
        Box(0, 0, inner.y0, width),
        Box(inner.y1, 0, height, width),
        Box(inner.y0, 0, inner.y1, inner.x0),
        Box(inner.y0, inner.x1, inner.y1, width),
    )
    found = []
    for band in bands:
        mask = labels[band.slices] > 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            box = Box(int(y0), int(x0), int(y1), int(x1)).shifted(band.y0, band.x0)
            found.append((box, mask[y0:y1, x0:x1].copy()))
    return found
