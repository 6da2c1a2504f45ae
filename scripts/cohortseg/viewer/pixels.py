"""The pixels of an image at any zoom level, from the level of its file, or of those made here, that is nearest."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Field, Image
from cohortseg.kernels.resample import resample, source_box
from cohortseg.stores.image_levels import ImageLevels
from cohortseg.stores.location import Location
from cohortseg.stores.scratch import Scratch
from cohortseg.stores.source import ImageSource, PageSelection
from cohortseg.viewer.geometry import TILE_PX, Zoom
from cohortseg.viewer.reduced import FIRST_HALVINGS, ReducedLevels

_MOST_READ_PX = (2**FIRST_HALVINGS * TILE_PX // 2 + 16) ** 2
"""Pixels that are read for one tile: those of a level twice as large. Beyond that, smaller levels are made."""

_BAND_ROWS = 256

_SCRATCH_BYTES = 2**30
"""What the decoded tiles of each level of the file may take on disk, ..."""
_REDUCED_BYTES = 4 * 2**30
"""... and the levels that are made of an image."""

_SAMPLED_BOXES, _SAMPLED_PX = 4, 128
"""Along each side of an image without small levels: where its range of values is looked for."""
_SHOWN_PERCENTILES = (1.0, 99.8)


class ImageView:
    """An image that is looked at; several threads may use it at once.

    Parameters
    ----------
    path, page
        The image; see `ImageLevels`, also for what is raised.
    scratch
        Folder for files without a name: decoded tiles, and levels that are made.
    background
        Where levels are made.
    """

    def __init__(self, path: Location, page: PageSelection, scratch: Path, background: Executor) -> None:
        self.path = path
        self._levels = ImageLevels(path, page, scratch, _SCRATCH_BYTES)
        self._folder, self._background = scratch, background
        self._lock, self._stop = Lock(), Event()
        self._reduced: dict[tuple[int, tuple[int, ...]], tuple[ReducedLevels, Scratch, Future[None]]] = {}
        self.source = self._levels.largest

    @property
    def done(self) -> float:
        """Share of what is being made of smaller levels that is there; 1 where nothing is being made.

        What stopped the making is raised: nobody is to wait for the rest.
        """
        with self._lock:
            made = [reduced for reduced, _, _ in self._reduced.values()]
        for reduced in made:
            if reduced.failure is not None:
                raise reduced.failure
        return min((reduced.done for reduced in made), default=1.0)

    def read(self, zoom: Zoom, box: Box, channels: Sequence[int]) -> tuple[list[NDArray[np.float32]], bool]:
        """Return (y, x) float32 pixels of a box of a zoom level for each channel, and whether they are all there.

        Where smaller levels are still being made, what is not made yet is 0.

        Raises
        ------
        ImageError
            The image is damaged there.
        """
        level = self._nearest(zoom)
        shape = self._levels.shapes[level]
        if _tile_px(zoom.shape, shape) <= _MOST_READ_PX:
            needed = source_box(box, zoom.shape, shape)
            pixels = _read_in_bands(self._levels.level(level), channels, needed)
            return [_scaled(each[None], needed, shape, box, zoom.shape) for each in pixels], True
        planes, complete = [], True
        for channel in channels:
            reduced = self._made(level, channel)
            was_done = reduced.done == 1.0
            index = _fitting(reduced.shapes, zoom.shape)
            shape = reduced.shapes[index]
            needed = source_box(box, zoom.shape, shape)
            planes.append(_scaled(reduced.read(index, channel, needed), needed, shape, box, zoom.shape))
            complete &= was_done
        return planes, complete

    def value_range(self, channel: int) -> tuple[float, float, float, float]:
        """Return the smallest and largest value that was seen of a channel, and what is to be black and full light."""
        pixels = np.concatenate([each.ravel() for each in self._samples(channel)]).astype(np.float64)
        pixels = pixels[np.isfinite(pixels)]
        if not pixels.size:
            return 0.0, 1.0, 0.0, 1.0
        lower, upper = np.percentile(pixels, _SHOWN_PERCENTILES)
        return float(pixels.min()), float(pixels.max()), float(lower), float(upper)

    def close(self) -> None:
        """Stop what is being made, and release the file."""
        self._stop.set()
        with self._lock:
            for _, scratch, making in self._reduced.values():
                making.cancel()
                if not making.cancelled():
                    making.result()
                scratch.close()
            self._reduced.clear()
        self._levels.close()

    def _samples(self, channel: int) -> list[Image]:
        shapes = self._levels.shapes
        smallest = shapes[-1]
        if smallest[0] * smallest[1] <= _MOST_READ_PX:
            return [self._levels.level(len(shapes) - 1).read([channel], Box(0, 0, *smallest))]
        whole = Box(0, 0, *smallest)
        corners = [
            (round((i + 0.5) * smallest[0] / _SAMPLED_BOXES), round((j + 0.5) * smallest[1] / _SAMPLED_BOXES))
            for i in range(_SAMPLED_BOXES)
            for j in range(_SAMPLED_BOXES)
        ]
        boxes = [Box(y, x, y + _SAMPLED_PX, x + _SAMPLED_PX).intersection(whole) for y, x in corners]
        source = self._levels.level(len(shapes) - 1)
        return [source.read([channel], box) for box in boxes if box.height and box.width]

    def _nearest(self, zoom: Zoom) -> int:
        return _fitting(self._levels.shapes, zoom.shape)

    def _made(self, level: int, channel: int) -> ReducedLevels:
        """Return the levels made of a level of the file, beginning to make them where that has not happened yet."""
        channels = (0, 1, 2) if self.source.is_rgb else (channel,)
        with self._lock:
            if (level, channels) not in self._reduced:
                scratch = Scratch(self._folder, _REDUCED_BYTES)
                made = ReducedLevels(self._levels.level(level), channels, scratch)
                self._reduced[level, channels] = made, scratch, self._background.submit(made.build, self._stop)
            reduced = self._reduced[level, channels][0]
        if reduced.failure is not None:
            raise reduced.failure
        return reduced


def _fitting(shapes: Sequence[tuple[int, int]], wanted: tuple[int, int]) -> int:
    """Return the smallest of levels that is not smaller than what is wanted, or the largest.

    A pixel less is none: programs round the sizes of levels in various ways.
    """
    fitting = [i for i, shape in enumerate(shapes) if shape[0] >= wanted[0] - 1 and shape[1] >= wanted[1] - 1]
    return fitting[-1] if fitting else 0


def _tile_px(zoom_shape: tuple[int, int], shape: tuple[int, int]) -> float:
    """Return the pixels of a level behind a whole tile; all tiles of a zoom level are made alike, so without seams."""
    sides = [min(TILE_PX, side) * n / side for side, n in zip(zoom_shape, shape, strict=True)]
    return sides[0] * sides[1]


def _read_in_bands(source: ImageSource, channels: Sequence[int], box: Box) -> Image:
    """Read a box in low bands: an image in strips as wide as itself decodes, and keeps, all that a read touches."""
    pixels = np.empty((len(channels), *box.shape), source.dtype)
    for top in range(box.y0, box.y1, _BAND_ROWS):
        band = Box(top, box.x0, min(top + _BAND_ROWS, box.y1), box.x1)
        pixels[:, top - box.y0 : band.y1 - box.y0] = source.read(channels, band)
    return pixels


def _scaled(
    pixels: Image, held: Box, shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
) -> NDArray[np.float32]:
    field: Field = resample(np.nan_to_num(pixels), held, shape, target, target_shape)
    plane: NDArray[np.float32] = field[0]
    return plane
