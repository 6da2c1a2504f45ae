"""Blending tiles: adding one with its weights, in a single pass over its pixels."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Field
from cohortseg.kernels._jit import jit


@jit
def add_weighted(target: Field, values: Field, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]) -> None:
    """Add values times their weights to a field, in place.

    Parameters
    ----------
    target, values
        (channel, y, x) float32, of one shape.
    weights_y, weights_x
        float32, by row and by column; a pixel's weight is their product.
    """
    for channel in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                target[channel, y, x] += values[channel, y, x] * (weights_y[y] * weights_x[x])
