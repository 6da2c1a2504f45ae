"""The cells of a sample as labels at any zoom level."""

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np

from cohortseg.arrays import Box, Labels
from cohortseg.viewer.drawing import Colour, Look, draw_cells
from cohortseg.viewer.geometry import Zoom

SMALLEST_OUTLINED_PX = 5.0
"""Where a typical cell is narrower than this on the screen, cells are tinted whole: outlines would cover them."""

_MOST_READ_PX = 8192**2
"""Of a label image for one tile, which is the largest chunk: one whose small levels are missing is not read whole."""

_DRAWN_HALVINGS = 2
"""How far out cells can be seen that have to be drawn from their polygons, for want of a label image."""


class LabelLevel(Protocol):
    """A level of a label image."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x)."""

    def read(self, box: Box) -> Labels:
        """Return the labels of a box."""


class LabelPyramid(NamedTuple):
    """A label image of which each level holds every second row and column of the one before."""

    n_levels: int
    open_level: Callable[[int], LabelLevel]


class LabelView:
    """The cells of a sample; several threads may use it at once.

    Parameters
    ----------
    shape
        (y, x) of the image.
    pyramid
        The label image; None where there is none.
    draw
        Draws the cells of a box from their polygons, used where there is no label image.
    diameter_px
        Of a typical cell.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pyramid: LabelPyramid | None,
        draw: Callable[[Box], Labels],
        diameter_px: float,
    ) -> None:
        self._shape, self._pyramid, self._draw, self._diameter_px = shape, pyramid, draw, diameter_px
        self._levels: dict[int, LabelLevel] = {}
        self._lock = Lock()

    def at(self, y: int, x: int) -> int:
        """Return the cell at a pixel of full resolution, 0 for background or beyond the image."""
        if not (0 <= y < self._shape[0] and 0 <= x < self._shape[1]):
            return 0
        box = Box(y, x, y + 1, x + 1)
        labels = self._draw(box) if self._pyramid is None else self._level(0).read(box)
        return int(labels[0, 0])

    def outlines(self, zoom: Zoom, tile: Box, colour: Colour) -> bytes | None:
        """Return the cells of a tile as a PNG; None where a label image, or its level, is wanting for that."""
        grown = tile.grown(1, zoom.shape)
        labels = self._read(zoom.halvings, grown)
        if labels is None:
            return None
        look = Look.BORDERS if zoom.halvings == 0 else Look.LINES
        if self._diameter_px / 2**zoom.halvings < SMALLEST_OUTLINED_PX:
            look = Look.TINT
        return draw_cells(labels, tile.shifted(-grown.y0, -grown.x0), colour, look)

    def _read(self, halvings: int, box: Box) -> Labels | None:
        if self._pyramid is None:
            return None if halvings > _DRAWN_HALVINGS else self._drawn(halvings, box)
        level = min(halvings, self._pyramid.n_levels - 1)
        step = 2 ** (halvings - level)
        source = self._level(level)
        height, width = source.shape
        wanted = Box(box.y0 * step, box.x0 * step, min(box.y1 * step, height), min(box.x1 * step, width))
        if wanted.height * wanted.width > _MOST_READ_PX:
            return None
        return np.ascontiguousarray(source.read(wanted)[::step, ::step])

    def _drawn(self, halvings: int, box: Box) -> Labels:
        step = 2**halvings
        height, width = self._shape
        whole = Box(box.y0 * step, box.x0 * step, min(box.y1 * step, height), min(box.x1 * step, width))
        return np.ascontiguousarray(self._draw(whole)[::step, ::step])

    def _level(self, index: int) -> LabelLevel:
        assert self._pyramid is not None
        with self._lock:
            if index not in self._levels:
                self._levels[index] = self._pyramid.open_level(index)
            return self._levels[index]
