"""How sharp a channel is where there are cells."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.kernels.structure import LAGS, REACH_PX, add_structure

# Pixels so near to a cell belong to its outline.
_AROUND_PX = 4
# Sharpness that noise makes uncertain by more than this (one standard deviation) is not told.
_MOST_ERROR = 0.15
# Ratios of smaller numbers say nothing; noise may take them below 0.
_LEAST = 0.01

RIM_PX = max(REACH_PX, _AROUND_PX)
"""Pixels around a block that are looked at, too."""


class Sharpness:
    """How much of the change across cells happens within a pixel or two; two sums, whatever the image.

    The ratio of the squared changes over 2 px to those over 8 px, without the noise (see `kernels.structure`), in cells
    and just around them, times 16, less 1: 3 at ideal edges, 0 where nothing is sharper than 8 px, more where there are
    fine grains. Such ratios of structure functions tell neither brightness, contrast, background nor the number of
    cells; they depend on what is stained and on the size of a pixel, so that they are compared among images alike.
    """

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] = np.zeros((len(LAGS), 3))

    def add(self, plane: NDArray[np.float32], near: NDArray[np.bool_], inner: Box) -> None:
        """Add a block with its rim, (y, x) each: pixels, and which are in or near cells; `inner` are those to add."""
        add_structure(plane, near, inner, self._sums)

    def result(self) -> float | None:
        """Return the sharpness; None without cells, or where their signal is lost in the noise."""
        (fine, fine_squares, number), (coarse, _, _) = self._sums.tolist()
        if not coarse > 0:
            return None
        scale = (LAGS[1] / LAGS[0]) ** 2 / coarse
        # Of products of changes with equal signal and independent noise, 2 a pixel, which go in pairs.
        noise = max(fine_squares - fine, 0.0) / (2 * number)
        signal = max(fine, 0.0) / (2 * number)
        error = math.sqrt(2 * 2 * number * (noise**2 + 2 * noise * signal))
        return max(_LEAST, scale * fine - 1) if scale * error <= _MOST_ERROR else None


def near_cells(labels: Labels) -> NDArray[np.bool_]:
    """Return which pixels of a (y, x) block are in a cell or within 4 px of one, squarely."""
    side = 2 * _AROUND_PX + 1
    grown = cv2.dilate((labels > 0).astype(np.uint8), np.ones((side, side), np.uint8))
    near: NDArray[np.bool_] = grown > 0
    return near
