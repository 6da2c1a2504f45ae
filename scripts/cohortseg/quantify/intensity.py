"""Intensities of cells, block by block: cells that reach over several blocks wait for their last one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image, Labels
from cohortseg.errors import TableError
from cohortseg.kernels.values import MOMENTS, describe_values, gather_values

MEDIAN = "median"


class Intensities:
    """What is known so far of the intensities of some cells.

    Blocks of an image are added in raster order. A cell within one block is described there and then; the pixels
    of others are kept until the last block that their bounds meet: memory holds the cells along one row of blocks.

    Parameters
    ----------
    cell_ids
        (n,) uint32, ascending, none of them 0.
    last_blocks
        (n,) number of the last block that each cell's bounds meet.
    n_channels
        Channels of the blocks.
    statistics, percentiles
        What is measured: names of `MOMENTS` or the median, and numbers from 0 to 100.
    """

    def __init__(
        self,
        cell_ids: NDArray[np.uint32],
        last_blocks: NDArray[np.int64],
        n_channels: int,
        statistics: Sequence[str],
        percentiles: Sequence[float],
    ) -> None:
        self._cell_ids, self._last_blocks = cell_ids, last_blocks
        self._places = np.full(len(cell_ids), -1, np.int64)
        self._waiting: dict[int, list[Image]] = {}
        self._statistics = statistics
        known = [*MOMENTS, MEDIAN]
        self._quantiles = np.array([50, *percentiles]) / 100 if MEDIAN in statistics else np.array(percentiles) / 100
        first = len(known) if MEDIAN in statistics else len(MOMENTS)
        self._columns = [*map(known.index, statistics), *range(first, first + len(percentiles))]
        self.found = np.full((n_channels, len(self._columns), len(cell_ids)), np.nan)
        """(channel, measurement, n) float64, ordered as `Wanted.prefixes`; NaN for cells without a pixel so far."""
        self.pixels = np.zeros(len(cell_ids), np.int64)
        """(n,) how many pixels each cell has had so far."""

    def add(self, block: int, labels: Labels, image: Image) -> None:
        """Add a block: its number, labels (h, w) uint32 and pixels (channel, h, w) of any real type.

        Raises
        ------
        TableError
            If a label is none of the cells.
        """
        pixels = gather_values(labels, native(image), self._cell_ids, self._places)
        if isinstance(pixels, int):
            raise TableError(
                f"the labels have a cell {pixels} that the table of cells has not",
                "labels and table come from one segmentation",
                "Segment the sample again.",
            )
        self.pixels[pixels.rows] += np.diff(pixels.offsets)
        whole = self._last_blocks[pixels.rows] == block
        for i, row in enumerate(pixels.rows.tolist()):
            if row in self._waiting:
                whole[i] = False
            if not whole[i]:
                part = pixels.values[:, pixels.offsets[i] : pixels.offsets[i + 1]]
                self._waiting.setdefault(row, []).append(part.copy())
        described = self._describe(pixels.values, pixels.offsets)
        self.found[:, :, pixels.rows[whole]] = np.moveaxis(described[whole], 0, -1)

    def end(self, block: int) -> None:
        """Describe the cells that waited for this block or an earlier one, whether they had pixels there or not."""
        for row in [row for row in self._waiting if self._last_blocks[row] <= block]:
            values = np.concatenate(self._waiting.pop(row), axis=1)
            self.found[:, :, row] = self._describe(values, np.array([0, values.shape[1]]))[0]

    def _describe(self, values: Image, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        # Sums of fractions and of large numbers depend on the order of the pixels, which depends on the blocks.
        ordered = values.dtype.kind == "f" or values.dtype.itemsize == 8 or "std" in self._statistics
        return describe_values(values, offsets, self._quantiles, ordered)[:, :, self._columns]


def native_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the type in this machine's byte order, one that compiled loops can add: float32 for float16."""
    native = dtype.newbyteorder("=")
    return np.dtype(np.float32) if native == np.float16 else native


def native(image: Image) -> Image:
    """Return the pixels contiguous and of their `native_dtype`."""
    return np.ascontiguousarray(image, native_dtype(image.dtype))
