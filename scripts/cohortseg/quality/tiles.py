"""Cells and signal by tile: where there are no cells, and where there should be."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Box, Labels
from cohortseg.kernels.structure import add_signal
from cohortseg.kernels.tally_values import count_covered

# A tile is so many diameters wide, and at least so many pixels.
_DIAMETERS = 6
_SMALLEST_PX = 64
# A tile without cells is suspicious with so much of the signal that tiles with cells have ...
_SIGNAL_SHARE = 0.5
# ... if so many of the tiles around it have cells, at least half of which there are, and tiles have so many cells.
_FEWEST_NEIGHBOURS = 3
_FEWEST_CELLS = 4
# Changes count up to this share of the range of intensities.
_MOST_CHANGE = 0.5


class TileCover:
    """Pixels of cells and signal of the segmented inputs by tile; a few numbers a tile.

    Parameters
    ----------
    shape
        (y, x) of the image.
    diameter_px
        Diameter of a cell.
    ranges
        Of each input: its upper less its lower intensity, as it was normalised; 0 where it has no signal.
    """

    def __init__(self, shape: tuple[int, int], diameter_px: float, ranges: Sequence[float]) -> None:
        self.side_px = max(_SMALLEST_PX, 16 * round(_DIAMETERS * diameter_px / 16))
        self._shape, self._diameter_px, self._ranges = shape, diameter_px, ranges
        tiles = [-(-length // self.side_px) for length in shape]
        self._covered_px: NDArray[np.int64] = np.zeros(tiles, np.int64)
        self._signal: NDArray[np.float64] = np.zeros((len(ranges), *tiles))

    def add(self, planes: Sequence[NDArray[np.float32]], labels: Labels, held: Box, inner: Box) -> None:
        """Add a block with its rim: the segmented inputs and the labels, (y, x) each.

        `held` is where they lie in the image, and `inner` which of its pixels to add.
        """
        rows, columns = (
            np.arange(start, end) // self.side_px for start, end in ((held.y0, held.y1), (held.x0, held.x1))
        )
        here = inner.shifted(-held.y0, -held.x0)
        count_covered(labels[here.slices], (rows[here.slices[0]], columns[here.slices[1]]), self._covered_px)
        for plane, extent, sums in zip(planes, self._ranges, self._signal, strict=True):
            if extent > 0:
                most = 2 * (_MOST_CHANGE * extent) ** 2
                add_signal(plane, here, most=most, tile_of=(rows, columns), sums=sums)

    def result(self) -> dict[str, int]:
        """Return what quality.json says: `side_px`, `n`, `empty` and `suspicious` tiles."""
        return {
            "side_px": self.side_px,
            "n": self._covered_px.size,
            "empty": int((self._covered_px == 0).sum()),
            "suspicious": int(self.suspicious().sum()),
        }

    def suspicious(self) -> NDArray[np.bool_]:
        """Return which tiles have no cells, though they have signal, and neighbours with cells."""
        heights, widths = (np.minimum(self.side_px, length - self.side_px * np.arange(n)) for length, n in
                           zip(self._shape, self._covered_px.shape, strict=True))  # fmt: skip
        areas_px2 = np.outer(heights, widths)
        full = self._covered_px > 0
        cells = self._covered_px[full] / (np.pi * self._diameter_px**2 / 4)
        if not full.any() or float(np.median(cells)) < _FEWEST_CELLS:
            return np.zeros(full.shape, np.bool_)
        around = ndimage.convolve(full.astype(np.int64), _EIGHT, mode="constant")
        known = ndimage.convolve(np.ones(full.shape, np.int64), _EIGHT, mode="constant")
        candidates = ~full & (around >= np.maximum(_FEWEST_NEIGHBOURS, known / 2)) & (2 * areas_px2 >= self.side_px**2)
        density = self._signal / areas_px2
        usual = np.median(density[:, full], axis=1)[:, None, None]
        lit = np.any((density >= _SIGNAL_SHARE * usual) & (usual > 0), axis=0)
        found: NDArray[np.bool_] = np.logical_and(candidates, lit)
        return found


_EIGHT = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.int64)
