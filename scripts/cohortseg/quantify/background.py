"""The background of each channel, and measurements without it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Image
from cohortseg.kernels.histogram import HistogramPercentiles
from cohortseg.quantify.intensity import native, native_dtype


class ImageBackground:
    """The median of each channel over the pixels that are given, which come block by block.

    It is exact; types that `HistogramPercentiles` takes as float32 are taken as such. NaN are left out.

    Parameters
    ----------
    n_channels, dtype
        Of the image.
    """

    def __init__(self, n_channels: int, dtype: np.dtype[np.generic]) -> None:
        self._medians = [HistogramPercentiles(native_dtype(dtype), (50.0,)) for _ in range(n_channels)]

    def add(self, image: Image, outside: NDArray[np.bool_]) -> None:
        """Add the pixels of a block, (channel, h, w) of the image's type, where `outside`, (h, w), is true."""
        for plane, median in zip(native(image), self._medians, strict=True):
            median.add(plane[outside])

    def next_pass(self) -> bool:
        """End a pass over all blocks; return whether all must be added once more, which wide types need."""
        again = [median.next_pass() for median in self._medians]
        return any(again)

    def result(self) -> NDArray[np.float64]:
        """Return (channel,) float64: the medians; NaN where there was no pixel."""
        return np.array([median.result()[0] for median in self._medians], np.float64)


def subtract_background(
    found: NDArray[np.float64], prefixes: Sequence[str], pixels: NDArray[np.int64], background: NDArray[np.float64]
) -> None:
    """Subtract the background from measurements, in place: once for each pixel of sums, from standard deviations never.

    Parameters
    ----------
    found
        (channel, measurement, cell).
    prefixes
        What each measurement is, as `Wanted.prefixes` has it.
    pixels
        (cell,) number of pixels that were measured.
    background
        (channel, cell) or (channel, 1).
    """
    for k, prefix in enumerate(prefixes):
        if prefix == "sum":
            found[:, k] -= background * pixels
        elif prefix != "std":
            found[:, k] -= background
