"""The network's output where it is still needed: a band of the canvas that moves down as tiles come in."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field
from cohortseg.kernels.blend import add_weighted

NO_CELL_LOGIT = -20.0
"""Cell probability, before the sigmoid, of a tile that was skipped since it holds no signal."""


class RollingField:
    """Blended flows and cell probability within a box, from the first row kept to the last one begun.

    Tiles add their output times their weight; since the weights of all tiles sum to 1 at every pixel, a pixel
    is final once every tile that uses it has been added.
    """

    def __init__(self, seen: Box) -> None:
        self._y0, self._x0, self._y1, self._x1 = seen
        self._rows: Field = np.zeros((3, 0, self._x1 - self._x0), np.float32)

    def add(self, used: Box, values: Field, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]) -> None:
        """Add a tile: (3, y, x) values of the box `used` of the canvas, and the weights of its rows and columns."""
        part = used.intersection(Box(self._y0, self._x0, self._y1, self._x1))
        missing = part.y1 - self._y0 - self._rows.shape[1]
        if missing > 0:
            self._rows = np.pad(self._rows, ((0, 0), (0, missing), (0, 0)))
        rows, columns = part.shifted(-used.y0, -used.x0).slices
        target = self._rows[:, *part.shifted(-self._y0, -self._x0).slices]
        add_weighted(target, values[:, rows, columns], weights_y[rows], weights_x[columns])

    def take(self, box: Box) -> Field:
        """Return a copy of a box of the canvas."""
        return self._rows[:, *box.shifted(-self._y0, -self._x0).slices].copy()

    def drop_above(self, y: int) -> None:
        """Forget the rows above `y`."""
        if y > self._y0:
            self._rows = self._rows[:, y - self._y0 :].copy()
            self._y0 = y
