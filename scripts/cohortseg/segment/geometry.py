"""The image's pixels and the network's: one is the other, scaled so that a cell has the network's diameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels


@dataclass(frozen=True)
class Geometry:
    """How an image maps onto the network's grid.

    Attributes
    ----------
    image_shape
        Height and width of the image.
    scale
        Network pixels per image pixel.
    """

    image_shape: tuple[int, int]
    scale: float

    @cached_property
    def network_shape(self) -> tuple[int, int]:
        """Height and width of the image on the network's grid, each at least 1; rounded down, as Cellpose does it."""
        height, width = (max(1, int(length * self.scale)) for length in self.image_shape)
        return height, width

    def image_box(self, box: Box) -> Box:
        """Return the image pixels whose centres lie in a box of network pixels; boxes that tile stay so."""
        y0, y1 = (_first_inside(edge, self.image_shape[0], self.network_shape[0]) for edge in (box.y0, box.y1))
        x0, x1 = (_first_inside(edge, self.image_shape[1], self.network_shape[1]) for edge in (box.x0, box.x1))
        return Box(y0, x0, y1, x1)

    def interpolated_box(self, box: Box) -> Box:
        """Return the image pixels whose interpolation, by `kernels.resample`, needs only a box of network pixels."""
        (y0, y1), (x0, x1) = (
            _interpolated(start, stop, n_image, n_network)
            for start, stop, n_image, n_network in zip(
                box[:2], box[2:], self.image_shape, self.network_shape, strict=True
            )
        )
        return Box(y0, x0, y1, x1)

    def image_columns(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first image column whose centre is at or beyond each of two network columns."""
        n_image, n_network = self.image_shape[1], self.network_shape[1]
        return _first_inside(start, n_image, n_network), _first_inside(stop, n_image, n_network)

    def image_lines(self, lines: Sequence[float], *, axis: int) -> tuple[int, ...]:
        """Return the pixel edges of the image nearest to lines across the network's grid, rising, each once.

        Parameters
        ----------
        lines
            Distances from the image's border along the axis, in network pixels.
        axis
            0 for y, 1 for x.
        """
        ratio = self.image_shape[axis] / self.network_shape[axis]
        return tuple(sorted({round(line * ratio) for line in lines}))

    def image_labels(self, labels: Labels, box: Box) -> Labels:
        """Return labels of a box of network pixels on the image's grid, by the nearest network pixel.

        The result covers `image_box(box)`.
        """
        if self.network_shape == self.image_shape:
            return labels
        target = self.image_box(box)
        rows = _nearest(target.y0, target.y1, self.image_shape[0], self.network_shape[0]) - box.y0
        columns = _nearest(target.x0, target.x1, self.image_shape[1], self.network_shape[1]) - box.x0
        return labels[np.ix_(rows, columns)]


def _first_inside(edge: int, n_image: int, n_network: int) -> int:
    """Return the first image pixel whose centre is at or beyond a network pixel's edge, in exact integers."""
    return max(0, -(-(2 * n_image * edge - n_network) // (2 * n_network)))


def _interpolated(start: int, stop: int, n_image: int, n_network: int) -> tuple[int, int]:
    reach = 1 + max(1, -(-n_network // n_image))
    first = 0 if start == 0 else _first_inside(start + reach, n_image, n_network)
    last = n_image if stop == n_network else _first_inside(stop - reach, n_image, n_network)
    return first, max(first, last)


def _nearest(start: int, stop: int, n_image: int, n_network: int) -> NDArray[np.int64]:
    return (2 * np.arange(start, stop, dtype=np.int64) + 1) * n_network // (2 * n_image)
