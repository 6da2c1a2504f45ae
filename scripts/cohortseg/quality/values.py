"""The values of a channel, in cells and outside: how many are at the top of the range, how many 0, and the medians."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels.tally_values import count_values

_KEYS = 1 << 16
# Pixels at an image's own maximum are a pile where they are so many times as many as at each of the next lower values.
_PILE = 4.0
_FEWEST_OF_A_PILE = 16
_NEXT_VALUES = 8


class ValueCounts:
    """Counts of the values of one channel, block by block; a megabyte, whatever the image.

    Whole numbers of 8 and 16 bits are counted as they are. Of other types the upper 16 bits of their 32-bit floating
    point numbers are counted, in the order of the values, so that medians are right to 1 in 128; NaN are left out.
    """

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self._dtype = dtype
        self._exact = dtype.kind in "bui" and dtype.itemsize <= 2
        self._lowest = int(np.iinfo(dtype.name).min) if dtype.kind in "ui" and self._exact else 0
        self._counts: NDArray[np.int64] = np.zeros((2, _KEYS), np.int64)
        self._zeros = 0
        self._top = -np.inf
        self._at_top = np.zeros(2, np.int64)

    def add(self, plane: NDArray[np.generic], labels: Labels) -> None:
        """Add a block: pixels and labels, (y, x) of one shape; 0 is background."""
        if self._exact:
            signed = self._dtype.kind == "i"
            keys = plane.astype(np.int32) - self._lowest if signed else plane
            count_values(keys.astype(np.uint16, copy=False), labels, self._counts)
            return
        finite = np.isfinite(plane)
        values, kept = plane[finite], labels[finite]
        if not values.size:
            return
        self._zeros += int((values == 0).sum())
        self._note_top(values, kept)
        count_values(_ordered(values.astype(np.float32))[None], kept[None], self._counts)

    def result(self) -> dict[str, float | None]:
        """Return what quality.json says.

        Returns
        -------
        dict
            `saturated_share` and `saturated_in_cells`: share of all pixels, and of those in cells, at the top of the
            range, which is the type's largest value, or the image's own where its pixels pile up there, as those of a
            camera of 12 bits do; `zero_share`; `median_in_cells`, `median_outside`. None of no pixels.
        """
        n_pixels, (outside, in_cells) = int(self._counts.sum()), self._counts
        saturated = self._saturated()
        return {
            "saturated_share": _share(int(saturated.sum()), n_pixels),
            "saturated_in_cells": _share(int(saturated[1]), int(in_cells.sum())),
            "zero_share": _share(self._n_zeros(), n_pixels),
            "median_in_cells": self._median(in_cells),
            "median_outside": self._median(outside),
        }

    def _note_top(self, values: NDArray[np.generic], labels: Labels) -> None:
        top = float(values.max())
        if top > self._top:
            self._top, self._at_top = top, np.zeros(2, np.int64)
        if top == self._top:
            here = values == values.max()
            self._at_top += (int((here & (labels == 0)).sum()), int((here & (labels > 0)).sum()))

    def _saturated(self) -> NDArray[np.int64]:
        """Return how many pixels outside cells, and in cells, are at the top of the range."""
        both = self._counts.sum(axis=0)
        occupied = np.flatnonzero(both)
        if not occupied.size:
            return np.zeros(2, np.int64)
        top = int(occupied[-1])
        at_top = self._counts[:, top] if self._exact else self._at_top
        value = top + self._lowest if self._exact else self._top
        if self._dtype.kind in "ui" and value == np.iinfo(self._dtype.name).max:
            return at_top
        below = both[occupied[:-1][-_NEXT_VALUES:]]
        n_top = int(at_top.sum())
        piled = below.size > 0 and n_top >= _FEWEST_OF_A_PILE and n_top > _PILE * float(below.mean())
        return at_top if piled and self._dtype.kind != "b" else np.zeros(2, np.int64)

    def _n_zeros(self) -> int:
        return int(self._counts[:, -self._lowest].sum()) if self._exact else self._zeros

    def _median(self, counts: NDArray[np.int64]) -> float | None:
        total = int(counts.sum())
        if not total:
            return None
        passed = np.cumsum(counts)
        low, high = np.searchsorted(passed, ((total - 1) // 2, total // 2), side="right").tolist()
        return (self._value(low) + self._value(high)) / 2

    def _value(self, key: int) -> float:
        """Return the value that a key stands for; of a range of values its middle."""
        if self._exact:
            return float(key + self._lowest)
        bits = np.array([key << 16 | 0x8000], np.uint32)
        signed = np.where(bits & 0x80000000, bits ^ np.uint32(0x80000000), ~bits)
        return float(signed.astype(np.uint32).view(np.float32)[0])


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper 16 bits of floating point numbers, changed so that they are in the order of the values."""
    bits = (values + np.float32(0)).view(np.uint32)  # -0 becomes 0
    keys: NDArray[np.uint32] = np.where(bits & 0x80000000, ~bits, bits | np.uint32(0x80000000))
    upper: NDArray[np.uint16] = (keys >> np.uint32(16)).astype(np.uint16)
    return upper


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
