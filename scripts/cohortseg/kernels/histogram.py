"""Exact percentiles of more values than memory holds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit

_BUCKETS = 1 << 16

Among = Literal["all", "above", "below"]
"""Which values a percentile is of: all, or those above or not above Otsu's threshold."""


class HistogramPercentiles:
    """Percentiles of values that come block by block, equal to `numpy.percentile` over all of them at once.

    Types of 8 and 16 bits take one pass over the values. All others take two: their values are turned into 32-bit
    whole numbers of the same order, of which the first pass counts the upper 16 bits, and the second the lower
    16 bits in the few buckets that hold the ranks asked for. Float16, float64 and 64-bit whole numbers are taken as
    float32. NaN are left out. Memory is half a megabyte, and as much again for each percentile.

    The first pass is open from the start::

        percentiles = HistogramPercentiles(image.dtype, (1.0, 99.0))
        again = True
        while again:
            for block in blocks:
                percentiles.add(block)
            again = percentiles.next_pass()
        low, high = percentiles.result()

    An object is not to be used by several threads at once.

    Parameters
    ----------
    dtype
        Type of the values: any real one.
    percentiles
        From 0 to 100, in any order.
    among
        For each percentile, what it is of; None: of all values. Where all are equal, there is no threshold, and each
        is of all. With parts, whole numbers of 32 bits, too, are taken as float32, and of types that take two passes
        the threshold is exact to 1 in 128.

    Raises
    ------
    ImageError
        If the type is not real, or a percentile is out of range.
    """

    def __init__(
        self,
        dtype: np.dtype[np.generic] | type[np.generic],
        percentiles: Sequence[float],
        among: Sequence[Among] | None = None,
    ) -> None:
        self._dtype = np.dtype(dtype)
        if self._dtype.kind not in "buif":
            raise ImageError(
                f"values of type {self._dtype}", "expected whole or real numbers", "Convert the image to a real type."
            )
        self._fractions = np.asarray(percentiles, np.float64) / 100
        if not ((self._fractions >= 0) & (self._fractions <= 1)).all():
            raise ImageError(
                f"percentiles {list(percentiles)}", "expected numbers from 0 to 100", "Correct the settings."
            )
        self._among = ["all"] * len(self._fractions) if among is None else list(among)
        # The type of the keys: of 16 bits where that holds every value, else of 32.
        self._key_type = _key_type(self._dtype)
        if self._key_type.itemsize == 4 and any(each != "all" for each in self._among):
            # The upper bits of whole numbers say nothing of small ones, those of real numbers do.
            self._key_type = np.dtype(np.float32)
        self._counts: NDArray[np.int64] = np.zeros((1, _BUCKETS), np.int64)
        self._upper_counts = self._counts
        self._buckets = np.zeros(0, np.int64)
        self._pass = 1

    @property
    def passes(self) -> int:
        """How many times all values must be added: 1 or 2."""
        return 1 if self._key_type.itemsize == 2 else 2

    def add(self, values: NDArray[np.generic]) -> None:
        """Count values, in an array of any shape and of the type given at the start.

        Raises
        ------
        ImageError
            If the values are of another type, or every pass has ended.
        """
        if values.dtype != self._dtype or self._pass > self.passes:
            raise ImageError(
                f"values of type {values.dtype} in pass {self._pass}",
                f"expected type {self._dtype} and at most {self.passes} passes",
                "Add the same values in each pass.",
            )
        taken = np.ascontiguousarray(values).ravel().astype(self._key_type, copy=False)
        if self.passes == 1:
            # Signed numbers keep their order as unsigned ones once their sign bit is flipped.
            _count_16(taken.view(np.uint16), 0x8000 if self._key_type.kind == "i" else 0, self._counts[0])
            return
        bits, kind = taken.view(np.uint32), "uif".index(self._key_type.kind)
        if self._pass == 1:
            _count_upper(bits, kind, self._counts[0])
        else:
            slots = np.full(_BUCKETS, -1, np.int64)
            slots[self._buckets] = np.arange(len(self._buckets))
            _count_lower(bits, kind, slots, self._counts)

    def next_pass(self) -> bool:
        """End a pass over the values; return whether all of them must be added once more.

        Raises
        ------
        ImageError
            If the second pass did not have the values of the first.
        """
        if self._pass == 1 and self.passes == 2:
            self._upper_counts = self._counts
            ranks = np.unique(np.concatenate(self._ranks()[:2]))
            self._buckets = np.unique(np.searchsorted(np.cumsum(self._upper_counts[0]), ranks, side="right"))
            if self._upper_counts.sum() == 0:
                self._buckets = self._buckets[:0]
            self._counts = np.zeros((len(self._buckets), _BUCKETS), np.int64)
        elif self._pass == 2 and (self._counts.sum(axis=1) != self._upper_counts[0, self._buckets]).any():
            raise ImageError(
                "values that are not those of the first pass",
                "expected all values in each pass",
                "Do not write to the image while it is read.",
            )
        self._pass += 1
        return self._pass <= self.passes

    def result(self) -> NDArray[np.float64]:
        """Return the percentiles (n,) float64, by linear interpolation between ranks; NaN without values.

        Raises
        ------
        ImageError
            If a pass has not ended.
        """
        if self._pass <= self.passes:
            raise ImageError(
                f"a result in pass {self._pass} of {self.passes}",
                "expected all passes to have ended",
                "End them first.",
            )
        if self._upper_counts.sum() == 0:
            return np.full(len(self._fractions), np.nan)
        lower_ranks, upper_ranks, weights = self._ranks()
        lower, upper = self._values_at(lower_ranks), self._values_at(upper_ranks)
        # As numpy: from the nearer of the two. Ranks that are whole, and equal values, need no difference,
        # which infinities do not have.
        with np.errstate(invalid="ignore"):
            step = upper - lower
            between = np.where(weights < 0.5, lower + step * weights, upper - step * (1 - weights))
        return np.where((lower == upper) | (weights == 0), lower, between)

    def _ranks(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return for each percentile the ranks below and above it, and the weight of the one above."""
        counts = self._upper_counts[0]
        total = int(counts.sum())
        parted = any(among != "all" for among in self._among)
        ground = int(counts[: self._threshold() + 1].sum()) if parted else total
        ends = {"all": (0, total), "above": (ground, total), "below": (0, ground)}
        if ground in (0, total):
            ends = dict.fromkeys(ends, (0, total))
        first, end = np.array([ends[among] for among in self._among], np.int64).reshape(-1, 2).T
        last = np.maximum(end - first - 1, 0)
        places = last * self._fractions
        lower = np.floor(places).astype(np.int64)
        return first + lower, first + np.minimum(lower + 1, last), places - lower

    def _threshold(self) -> int:
        """Return the last bucket of the ground: the threshold of Otsu, which parts the values into two classes.

        N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979). Equally good ones:
        the lowest.
        """
        counts = self._upper_counts[0].astype(np.float64)
        values = self._bucket_values()
        finite = np.isfinite(values) & (counts > 0)
        total = counts[finite].sum()
        if total == 0:
            return _BUCKETS - 1
        values = np.where(finite, values, 0.0)
        counts = np.where(finite, counts, 0.0)
        below, sums = np.cumsum(counts), np.cumsum(counts * values)
        above = total - below
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = sums / below - (sums[-1] - sums) / above
            between = np.where((below > 0) & (above > 0), below * above * apart**2, 0.0)
        return int(np.argmax(between)) if between.any() else _BUCKETS - 1

    def _bucket_values(self) -> NDArray[np.float64]:
        """Return the value of each bucket of the first pass, of a wide type the least in it."""
        buckets = np.arange(_BUCKETS)
        with np.errstate(invalid="ignore"):  # some are bits of what is not a number
            return self._of_keys(buckets if self.passes == 1 else buckets << 16)

    def _values_at(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the values of some ranks, as float64."""
        ends = np.cumsum(self._upper_counts[0])
        buckets = np.searchsorted(ends, ranks, side="right")
        if self.passes == 1:
            return self._of_keys(buckets)
        within = ranks - (ends - self._upper_counts[0])[buckets]
        rows = np.searchsorted(self._buckets, buckets)
        lower = [
            np.searchsorted(np.cumsum(self._counts[row]), rank, side="right")
            for row, rank in zip(rows, within, strict=True)
        ]
        return self._of_keys((buckets << 16) | np.array(lower, np.int64))

    def _of_keys(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the values of ordered keys, of 16 or 32 bits, as float64."""
        kind = self._key_type.kind
        if self.passes == 1:
            flip = 0x8000 if kind == "i" else 0
            return (keys ^ flip).astype(np.uint16).view(self._key_type).astype(np.float64)
        wide = keys.astype(np.uint32)
        if kind == "i":
            wide ^= np.uint32(0x80000000)
        elif kind == "f":
            wide ^= np.where(wide >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
        return wide.view(self._key_type).astype(np.float64)


def _key_type(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the type of 16 or 32 bits in which values of a type are counted."""
    if dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2):
        return np.dtype(np.uint16)
    if dtype.kind == "i" and dtype.itemsize <= 2:
        return np.dtype(np.int16)
    if dtype.kind in "ui" and dtype.itemsize == 4:
        return dtype.newbyteorder("=")
    return np.dtype(np.float32)


@jit
def _count_16(bits: NDArray[np.uint16], flip: int, counts: NDArray[np.int64]) -> None:
    """Count 16-bit keys."""
    for value in bits:
        counts[value ^ flip] += 1


@jit
def _ordered(bits: np.uint32, kind: int) -> np.uint32:
    """Return the key of a value's bits: unsigned (kind 0), signed (1) or float (2), in the order of the values."""
    sign = np.uint32(0x80000000)
    if kind == 0:
        return bits
    if kind == 2 and bits & sign:
        return ~bits
    return bits ^ sign


@jit
def _is_nan(bits: np.uint32, kind: int) -> bool:
    """Whether the bits are those of a float that is not a number."""
    return bool(kind == 2 and (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000))


@jit
def _count_upper(values: NDArray[np.uint32], kind: int, counts: NDArray[np.int64]) -> None:
    """Count the upper 16 bits of the keys."""
    for bits in values:
        if not _is_nan(bits, kind):
            counts[_ordered(bits, kind) >> np.uint32(16)] += 1


@jit
def _count_lower(values: NDArray[np.uint32], kind: int, slots: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Count the lower 16 bits of the keys whose upper 16 bits have a slot, a row of `counts`."""
    for bits in values:
        if not _is_nan(bits, kind):
            key = _ordered(bits, kind)
            slot = slots[key >> np.uint32(16)]
            if slot >= 0:
                counts[slot, key & np.uint32(0xFFFF)] += 1
