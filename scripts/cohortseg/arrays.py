"""Names for the arrays and boxes that every room shares.

Axis order is always (y, x) for planes, (channel, y, x) for images and fields; x runs right, y runs down, and
the pixel (0, 0) covers the square from (0, 0) to (1, 1).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.generic]
"""(channel, y, x), any real dtype: pixels as they are in a file."""

Field = NDArray[np.float32]
"""(channel, y, x) float32: what a network takes or gives."""

Flow = NDArray[np.float32]
"""(2, y, x) float32: flow in (y, x) order, as the network gives it, five times a unit step."""

Logits = NDArray[np.float32]
"""(y, x) float32: cell probability before the sigmoid."""

Labels = NDArray[np.uint32]
"""(y, x) uint32: 0 is background, any other value is one cell."""


class Box(NamedTuple):
    """A half-open rectangle of pixels: rows y0 to y1, columns x0 to x1."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def height(self) -> int:
        """Rows in the box."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns in the box."""
        return self.x1 - self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index into a (y, x) array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, margin: int, shape: tuple[int, int]) -> "Box":
        """Return the box widened by `margin` pixels on each side, clipped to an image of `shape`."""
        return Box(
            max(self.y0 - margin, 0),
            max(self.x0 - margin, 0),
            min(self.y1 + margin, shape[0]),
            min(self.x1 + margin, shape[1]),
        )

    def shifted(self, dy: int, dx: int) -> "Box":
        """Return the box moved down by `dy` and right by `dx`."""
        return Box(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)

    def intersection(self, other: "Box") -> "Box":
        """Return the common rectangle; its height or width is 0 where the boxes do not meet."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Box(y0, x0, max(y0, min(self.y1, other.y1)), max(x0, min(self.x1, other.x1)))
