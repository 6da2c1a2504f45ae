"""Tiles for the network: where they lie, and how much each counts where they overlap."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box


@dataclass(frozen=True)
class AxisTiles:
    """Tiles along one axis of an image.

    Attributes
    ----------
    length_px
        Length of the image.
    tile_px
        Length of every tile.
    starts
        First pixel of each tile, rising, whole strides of the network apart, so that its pooling falls on the
        same grid in every tile as in the whole image. The first is negative and the last tile reaches beyond the
        image by the border.
    ramp_px
        Half the width over which one tile's weight gives way to the next one's.
    """

    length_px: int
    tile_px: int
    starts: tuple[int, ...]
    ramp_px: float

    @cached_property
    def seams(self) -> tuple[float, ...]:
        """Middle of the overlap of each two neighbouring tiles."""
        return tuple((before + self.tile_px + after) / 2 for before, after in pairwise(self.starts))

    def used(self, i: int) -> tuple[int, int]:
        """Return the half-open range of pixels where tile `i` has any weight."""
        start = 0 if i == 0 else int(np.floor(self.seams[i - 1] - self.ramp_px))
        stop = self.length_px if i == len(self.starts) - 1 else int(np.ceil(self.seams[i] + self.ramp_px))
        return start, stop

    def reaching(self, start: int, stop: int) -> range:
        """Return the tiles that have any weight in a half-open range of pixels."""
        touching = [i for i in range(len(self.starts)) if self.used(i)[0] < stop and self.used(i)[1] > start]
        return range(touching[0], touching[-1] + 1)

    def weights(self, i: int) -> NDArray[np.float32]:
        """Return the weight of each pixel of `used(i)`; at every pixel the tiles' weights sum to 1."""
        start, stop = self.used(i)
        centres = np.arange(start, stop, dtype=np.float64) + 0.5
        weights = np.ones(stop - start)
        if i > 0:
            weights *= self._rise(centres - self.seams[i - 1])
        if i < len(self.starts) - 1:
            weights *= 1 - self._rise(centres - self.seams[i])
        return weights.astype(np.float32)

    def _rise(self, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.ramp_px == 0:
            return (offset > 0).astype(np.float64)
        return np.clip((offset / self.ramp_px + 1) / 2, 0, 1)


@dataclass(frozen=True)
class TileGrid:
    """All tiles of an image: the product of the tiles along y and along x."""

    y: AxisTiles
    x: AxisTiles

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.y.length_px, self.x.length_px

    def box(self, row: int, column: int) -> Box:
        """Return the pixels that a tile is given."""
        y0, x0 = self.y.starts[row], self.x.starts[column]
        return Box(y0, x0, y0 + self.y.tile_px, x0 + self.x.tile_px)

    def used(self, row: int, column: int) -> Box:
        """Return the pixels of the image to which a tile contributes."""
        (y0, y1), (x0, x1) = self.y.used(row), self.x.used(column)
        return Box(y0, x0, y1, x1)


def plan_tiles(shape: tuple[int, int], *, tile_px: int, margin_px: int, border_px: int, stride_px: int) -> TileGrid:
    """Lay tiles of one shape over an image, evenly, neighbours overlapping by at least twice the margin.

    Parameters
    ----------
    shape
        Height and width of the image, in network pixels.
    tile_px
        Largest side of a tile, a multiple of `stride_px`, at least 2 (border_px + stride_px). Tiles are as much
        smaller as their number allows, and not always square. An image no larger than this is one tile, with its
        border.
    margin_px
        Within this distance of a tile's own border its output counts little (nothing in the outer half), except
        where the border is the image's. At most a quarter of `tile_px`.
    border_px
        How far the tiles reach beyond the image, at least, so that the network sees where the image ends. The image
        with this border is rounded up to multiples of two strides, half of what that adds before it: the frame of
        Cellpose 1 to 3 (`transforms.pad_image_ND`), whose networks give other cells where the image lies elsewhere on
        the grid of their pooling.
    stride_px
        The network's stride: sides, and the distances between starts, are multiples of it.
    """
    return TileGrid(*(_plan_axis(length, tile_px, margin_px, border_px, stride_px) for length in shape))


def _plan_axis(length_px: int, tile_px: int, margin_px: int, border_px: int, stride_px: int) -> AxisTiles:
    needed = length_px + 2 * border_px
    canvas = -(-needed // (2 * stride_px)) * 2 * stride_px
    first = -border_px - (canvas - needed) // 2
    if length_px <= tile_px:
        return AxisTiles(length_px, canvas, (first,), 0.0)
    # One stride is kept in hand, since rounding the starts may widen a gap by as much.
    shared_px = 2 * margin_px + stride_px
    count = -(-(canvas - tile_px) // max(tile_px - shared_px, stride_px)) + 1
    tile_px = min(tile_px, -(-(canvas + (count - 1) * shared_px) // (count * stride_px)) * stride_px)
    spare = canvas - tile_px
    starts = tuple(round(i * spare / (count - 1) / stride_px) * stride_px + first for i in range(count))
    narrowest = min(after - before for before, after in pairwise(starts))
    return AxisTiles(length_px, tile_px, starts, min(margin_px / 2, narrowest / 2))
