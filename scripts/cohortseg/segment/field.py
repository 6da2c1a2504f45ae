"""The network's output where it is still needed: a band of the canvas that moves down as tiles come in."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.segment.maths import ON_HOST, AnyField, FieldMaths

_NO_CELL_LOGIT = -20.0


class RollingField:
    """Blended flows and cell probability within a box, from the first row kept to the last one begun.

    Tiles add their output times their weight; since the weights of all tiles sum to 1 at every pixel, a pixel
    is final once every tile that uses it has been added.

    Parameters
    ----------
    maths
        Where the band lies; the tiles lie there too.
    """

    def __init__(self, seen: Box, maths: FieldMaths = ON_HOST) -> None:
        self._y0, self._x0, self._y1, self._x1 = seen
        self._maths = maths
        self._buffer = maths.zeros((3, 0, seen.width))
        self._height = 0

    def add(
        self, used: Box, values: AnyField | None, weights_y: NDArray[np.float32], weights_x: NDArray[np.float32]
    ) -> None:
        """Add a tile: (3, y, x) values of the box `used` of the canvas, and the weights of its rows and columns.

        Of a tile that was skipped, since it holds no signal, the values are None: no flow, and no cells.
        """
        if values is None:
            values = self._maths.zeros((3, *used.shape))
            values[2] = _NO_CELL_LOGIT
        part = used.intersection(Box(self._y0, self._x0, self._y1, self._x1))
        self._begin_rows(part.y1 - self._y0)
        rows, columns = part.shifted(-used.y0, -used.x0).slices
        target = self._buffer[:, *part.shifted(-self._y0, -self._x0).slices]
        self._maths.add_weighted(target, values[:, rows, columns], weights_y[rows], weights_x[columns])

    def take(self, box: Box) -> AnyField:
        """Return a copy of a box of the canvas."""
        return self._maths.copy(self._buffer[:, *box.shifted(-self._y0, -self._x0).slices])

    def drop_above(self, y: int) -> None:
        """Forget the rows above `y`."""
        dropped = min(y - self._y0, self._height)
        if dropped > 0:
            self._height -= dropped
            # In place, as many rows at once as do not overlap: the band is the largest array of a run.
            for row in range(0, self._height, dropped):
                moved = min(dropped, self._height - row)
                self._buffer[:, row : row + moved] = self._buffer[:, row + dropped : row + dropped + moved]
            self._y0 += dropped

    def _begin_rows(self, height: int) -> None:
        """Have at least so many rows, new ones 0."""
        held = self._buffer.shape[1]
        if height > held:
            buffer = self._maths.zeros((3, height, self._buffer.shape[2]))
            buffer[:, :held] = self._buffer
            self._buffer = buffer
        if height > self._height:
            self._buffer[:, self._height : height] = 0
            self._height = height
