"""Smaller levels of an image whose file has none, made once, in the background."""

import itertools
import math
from collections.abc import Sequence
from threading import Event, Lock

import numpy as np

from cohortseg.arrays import Box, Image
from cohortseg.errors import StorageError
from cohortseg.stores.image_zarr import halved
from cohortseg.stores.scratch import Scratch
from cohortseg.stores.source import ImageSource

FIRST_HALVINGS = 2
"""The largest level that is made has a quarter of the source's width."""

_BLOCK_PX = 512
_BAND_ROWS = 64
"""Rows of the largest level that are read at once: low boxes, so that strips as wide as the image are few. More where
there are so many levels that the smallest would get less than a row of them."""

_Place = tuple[int, int, int]
"""Level, from 0 the largest, row and column of a block."""


class ReducedLevels:
    """Levels of some channels of an image, each half as large as the one before, until one block holds it.

    A pixel is the mean of the four above it, whole numbers rounded, as `cohortseg convert` makes pyramids. The image is
    read once, from top to bottom, by the thread that calls `build`; what is done of each level can be read meanwhile.
    Memory is bounded by a row of blocks of each level; all other blocks are in the scratch file.

    Parameters
    ----------
    source
        What the levels are made of.
    channels
        Which of its channels; those that a file holds together are best made together.
    scratch
        Takes the blocks; where it has no room for one, `failure` is a StorageError.
    """

    def __init__(self, source: ImageSource, channels: Sequence[int], scratch: Scratch) -> None:
        self._source, self._channels, self._scratch = source, tuple(channels), scratch
        self._lock = Lock()
        self._growing: dict[_Place, Image] = {}
        self._rows_done = 0
        self.failure: Exception | None = None
        first = 2**FIRST_HALVINGS
        shape = math.ceil(source.shape[0] / first), math.ceil(source.shape[1] / first)
        self.shapes = [shape]
        while max(shape) > _BLOCK_PX:
            shape = math.ceil(shape[0] / 2), math.ceil(shape[1] / 2)
            self.shapes.append(shape)
        self._band_rows = max(_BAND_ROWS, 2 ** len(self.shapes))

    @property
    def done(self) -> float:
        """Share of the image that is in the levels, 0 to 1."""
        return self._rows_done / self._source.shape[0]

    def build(self, stop: Event) -> None:
        """Make all levels; return early once `stop` is set. What goes wrong is kept in `failure`."""
        try:
            for top in range(0, self.shapes[0][0], self._band_rows):
                for left in range(0, self.shapes[0][1], _BLOCK_PX):
                    if stop.is_set():
                        return
                    self._add_band(top, left)
                self._rows_done = min((top + self._band_rows) * 2**FIRST_HALVINGS, self._source.shape[0])
        except Exception as error:  # told to whoever asks for tiles; it must not be lost with the thread
            self.failure = error

    def read(self, level: int, channel: int, box: Box) -> Image:
        """Return (1, y, x) pixels of a level; 0 where they are not made yet."""
        pixels = np.zeros((1, *box.shape), self._source.dtype)
        rows = range(box.y0 // _BLOCK_PX, -(-box.y1 // _BLOCK_PX))
        columns = range(box.x0 // _BLOCK_PX, -(-box.x1 // _BLOCK_PX))
        for row, column in itertools.product(rows, columns):
            block = self._block((level, row, column), channel)
            if block is not None:
                place = self._box(level, row, column)
                common = box.intersection(place)
                source, target = common.shifted(-place.y0, -place.x0), common.shifted(-box.y0, -box.x0)
                pixels[(0, *target.slices)] = block[source.slices]
        return pixels

    def _block(self, place: _Place, channel: int) -> Image | None:
        index = self._channels.index(channel)
        with self._lock:
            growing = self._growing.get(place)
            return self._scratch.read((place, channel)) if growing is None else growing[index].copy()

    def _box(self, level: int, row: int, column: int) -> Box:
        whole = Box(0, 0, *self.shapes[level])
        corner = row * _BLOCK_PX, column * _BLOCK_PX
        return Box(*corner, corner[0] + _BLOCK_PX, corner[1] + _BLOCK_PX).intersection(whole)

    def _add_band(self, top: int, left: int) -> None:
        """Read a part of the image and put it into a block of the largest level."""
        factor, (height, width) = 2**FIRST_HALVINGS, self._source.shape
        box = Box(top * factor, left * factor, (top + self._band_rows) * factor, (left + _BLOCK_PX) * factor)
        pixels = self._source.read(self._channels, box.intersection(Box(0, 0, height, width)))
        for _ in range(FIRST_HALVINGS):
            pixels = np.stack([halved(each) for each in pixels])
        self._add(0, Box(top, left, top + pixels.shape[1], left + pixels.shape[2]), pixels)

    def _add(self, level: int, box: Box, pixels: Image) -> None:
        """Put pixels into the block of a level that holds them all, and into those below it."""
        row, column = box.y0 // _BLOCK_PX, box.x0 // _BLOCK_PX
        place, whole = (level, row, column), self._box(level, row, column)
        with self._lock:
            if place not in self._growing:
                self._growing[place] = np.zeros((len(self._channels), *whole.shape), self._source.dtype)
            self._growing[place][:, *box.shifted(-whole.y0, -whole.x0).slices] = pixels
        if level + 1 < len(self.shapes):
            below = np.stack([halved(each) for each in pixels])
            y0, x0 = box.y0 // 2, box.x0 // 2
            self._add(level + 1, Box(y0, x0, y0 + below.shape[1], x0 + below.shape[2]), below)
        if box.y1 == whole.y1 and box.x1 == whole.x1:
            with self._lock:
                for channel, block in zip(self._channels, self._growing.pop(place), strict=True):
                    self._keep((place, channel), block)

    def _keep(self, key: tuple[_Place, int], block: Image) -> None:
        if not self._scratch.write(key, block):
            # Without it, a part of the image would be black for good, and look like one without cells.
            raise StorageError(
                "the temporary folder has no room for the smaller levels of this image",
                "more room is needed, of which the viewer takes a quarter at most",
                "Set TMPDIR to another disk and start the viewer again, or make a pyramid with `cohortseg convert`.",
            )
