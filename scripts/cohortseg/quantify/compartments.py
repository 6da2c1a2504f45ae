"""Intensities of each cell, and of its nucleus, its cytoplasm and its ring where these are asked for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image, Labels
from cohortseg.quantify.background import subtract_background
from cohortseg.quantify.intensity import Intensities
from cohortseg.quantify.wanted import CELL, CYTOPLASM, NUCLEUS, RING, Wanted

Bounds = NDArray[np.float64]
"""(cell, 4) float64: xmin, ymin, xmax, ymax of each cell; NaN for an empty one."""


class Compartments:
    """What is known so far of the intensities of the compartments of some cells; blocks are added in raster order.

    Parameters
    ----------
    cell_ids
        (n,) uint32, ascending, none of them 0.
    bounds
        Of the same cells.
    shape
        (y, x) of the image.
    block_px
        Side of the blocks.
    wanted
        What is measured.
    nuclei
        Whether nuclei were segmented too.
    """

    def __init__(
        self,
        cell_ids: NDArray[np.uint32],
        bounds: Bounds,
        shape: tuple[int, int],
        block_px: int,
        wanted: Wanted,
        nuclei: bool,
    ) -> None:
        self._wanted = wanted
        within = last_blocks(bounds, shape, block_px, 0)
        parts = (CELL, NUCLEUS, CYTOPLASM) if nuclei else (CELL,)
        self._found = {part: self._empty(cell_ids, within, wanted.percentiles) for part in parts}
        if wanted.ring_px is not None:
            around = last_blocks(bounds, shape, block_px, wanted.ring_px)
            # The median of a ring as a background comes last, whether it is among what is wanted or not.
            more = (50.0,) if wanted.background == "ring" else ()
            self._found[RING] = self._empty(cell_ids, around, (*wanted.percentiles, *more))

    def _empty(
        self, cell_ids: NDArray[np.uint32], last: NDArray[np.int64], percentiles: Sequence[float]
    ) -> Intensities:
        return Intensities(cell_ids, last, len(self._wanted.channels), self._wanted.statistics, percentiles)

    def add(self, block: int, labels: dict[str, Labels], image: Image) -> None:
        """Add a block: its number, the labels of its compartments, and its pixels, (channel, h, w)."""
        for compartment, intensities in self._found.items():
            intensities.add(block, labels[compartment], image)

    def end(self, block: int) -> None:
        """Describe the cells that waited for this block or an earlier one."""
        for intensities in self._found.values():
            intensities.end(block)

    def result(self, image_background: NDArray[np.float64] | None) -> dict[str, NDArray[np.generic]]:
        """Return the columns of all channels, after those that tell how large the compartments are.

        The background is subtracted where the measurements are, since there may be many: to be called once, at the end.

        Parameters
        ----------
        image_background
            (channel,): the background of each channel, where that is to be the image's.
        """
        wanted = self._wanted
        background = None if image_background is None else image_background[:, None]
        if wanted.background == "ring":
            background = self._found[RING].found[:, -1]  # measured beyond what is wanted
        values: list[NDArray[np.float64]] = []
        for compartment, intensities in self._found.items():
            found = intensities.found[:, : len(wanted.prefixes())]
            # The ring is not corrected for itself.
            if background is not None and not (compartment == RING and wanted.background == "ring"):
                subtract_background(found, wanted.prefixes(), intensities.pixels, background)
            values += [each for channel in found for each in channel]
        if background is not None:
            values += list(np.broadcast_to(background, (len(wanted.channels), len(self._found[CELL].pixels))))
        sizes = {f"{each}_area_px": self._found[each].pixels for each in self._found if each}
        return sizes | dict(zip(wanted.columns(list(self._found)), values, strict=True))


def last_blocks(bounds: Bounds, shape: tuple[int, int], block_px: int, margin_px: int) -> NDArray[np.int64]:
    """Return the number, in raster order, of the last block that bounds, widened, meet; 0 for those of an empty cell.

    Parameters
    ----------
    margin_px
        By how much the bounds are widened on each side.
    """
    last = [
        np.clip(np.ceil(np.nan_to_num(end + margin_px)) - 1, 0, side - 1) // block_px
        for end, side in zip((bounds[:, 3], bounds[:, 2]), shape, strict=True)
    ]
    return np.asarray(last[0] * -(-shape[1] // block_px) + last[1], np.int64)
