"""How much an image changes over a few pixels, without its noise: what focus and signal are told by."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.kernels._jit import jit

LAGS = (1, 4)
"""Half the distances, in pixels, over which changes are measured."""

REACH_PX = max(LAGS) + 1
"""How far around a pixel is looked at."""


def add_structure(plane: NDArray[np.float32], inside: NDArray[np.bool_], inner: Box, sums: NDArray[np.float64]) -> None:
    """Add what a block tells of how much an image changes, in place.

    The change across a pixel p along x over twice a lag h is d = I(p + h) - I(p - h); it is multiplied with that of
    the next pixel along y, and the other way round. What lies in the image is in both, the noise of pixels is not, and
    comes to 0 in the sum, while it adds to the squares of d: so the products tell of the image alone.

    Parameters
    ----------
    plane
        (y, x) float32. Products with values that are not finite are left out.
    inside
        (y, x) of the same shape: the pixels that count.
    inner
        The pixels to add, within `plane`; those nearer than `REACH_PX` to its border are left out, so that blocks with
        a rim as wide as that come to what the whole image comes to.
    sums
        (len(LAGS), 3) float64: the sum of the products, that of the squares, and the number of pixels, by lag.

    Raises
    ------
    ImageError
        The shapes differ.
    """
    if inside.shape != plane.shape:
        raise ImageError(f"a mask of {inside.shape}", f"expected {plane.shape}", "Give a mask of the same pixels.")
    kept = inner.intersection(_whole(plane))
    for i, lag in enumerate(LAGS):
        _add_products(plane, inside, kept, lag, sums[i])


def add_signal(
    plane: NDArray[np.float32],
    inner: Box,
    *,
    most: float,
    tile_of: tuple[NDArray[np.int64], NDArray[np.int64]],
    sums: NDArray[np.float64],
) -> None:
    """Add to each tile the products of changes over the larger lag, as in `add_structure`, in place.

    Parameters
    ----------
    plane
        (y, x) float32.
    inner
        As for `add_structure`.
    most
        Products count at most so much, above and below 0, so that a speck of dust is not worth a hundred cells.
    tile_of
        Row and column of the tile of each row and column of `plane`.
    sums
        (tile rows, tile columns) float64.
    """
    kept = inner.intersection(_whole(plane))
    _add_clipped(plane, kept, LAGS[-1], np.float32(most), tile_of[0], tile_of[1], sums)


def _whole(plane: NDArray[np.float32]) -> Box:
    """Return the pixels of a plane of which all that is looked at lies in it; an empty box where there are none."""
    height, width = plane.shape
    return Box(REACH_PX, REACH_PX, max(REACH_PX, height - REACH_PX), max(REACH_PX, width - REACH_PX))


@jit
def _changes(plane: NDArray[np.float32], y: int, x: int, lag: int) -> tuple[float, float]:
    """Return the products of the changes across a pixel, along x and along y, and their squares."""
    along_x = plane[y, x + lag] - plane[y, x - lag]
    below = plane[y + 1, x + lag] - plane[y + 1, x - lag]
    along_y = plane[y + lag, x] - plane[y - lag, x]
    beside = plane[y + lag, x + 1] - plane[y - lag, x + 1]
    return along_x * below + along_y * beside, along_x * along_x + along_y * along_y


@jit
def _add_products(
    plane: NDArray[np.float32], inside: NDArray[np.bool_], box: Box, lag: int, sums: NDArray[np.float64]
) -> None:
    products = 0.0
    squares = 0.0
    number = 0
    for y in range(box.y0, box.y1):
        for x in range(box.x0, box.x1):
            if inside[y, x]:
                product, square = _changes(plane, y, x, lag)
                if np.isfinite(product):
                    products += product
                    squares += square
                    number += 1
    sums[0] += products
    sums[1] += squares
    sums[2] += number


@jit
def _add_clipped(
    plane: NDArray[np.float32],
    box: Box,
    lag: int,
    most: np.float32,
    row_of: NDArray[np.int64],
    column_of: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    for y in range(box.y0, box.y1):
        for x in range(box.x0, box.x1):
            product, _ = _changes(plane, y, x, lag)
            if np.isfinite(product):
                sums[row_of[y], column_of[x]] += min(max(product, -most), most)
