"""Where the tiles of each zoom level lie: the numbering of Deep Zoom images, which OpenSeadragon asks in."""

import math
from dataclasses import dataclass

from cohortseg.arrays import Box

TILE_PX = 512
"""Side of a tile; those at the right and lower edge are cut to the image."""


@dataclass(frozen=True)
class Zoom:
    """One zoom level of an image.

    Attributes
    ----------
    halvings
        How often the image was halved for it; 0 is full resolution.
    shape
        (y, x) in its own pixels.
    """

    halvings: int
    shape: tuple[int, int]

    def tile(self, column: int, row: int) -> Box | None:
        """Return the pixels of a tile, None where the level has no such tile."""
        box = Box(row * TILE_PX, column * TILE_PX, (row + 1) * TILE_PX, (column + 1) * TILE_PX)
        inside = box.intersection(Box(0, 0, *self.shape))
        return inside if inside.height and inside.width else None


def count_levels(shape: tuple[int, int]) -> int:
    """Return how many zoom levels a (y, x) image has: the first is one pixel, the last full resolution."""
    return (max(shape) - 1).bit_length() + 1


def zoom_of(shape: tuple[int, int], level: int) -> Zoom | None:
    """Return a zoom level of an image of (y, x) pixels, None where it has no such level."""
    halvings = count_levels(shape) - 1 - level
    if level < 0 or halvings < 0:
        return None
    return Zoom(halvings, (math.ceil(shape[0] / 2**halvings), math.ceil(shape[1] / 2**halvings)))
