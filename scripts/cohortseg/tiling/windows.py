"""Windows for the post-processing: which part of the canvas owns a cell, and how far around it is looked."""

from dataclasses import dataclass
from itertools import pairwise

from cohortseg.arrays import Box


@dataclass(frozen=True)
class Window:
    """One piece of post-processing.

    Attributes
    ----------
    core
        Cells whose seed lies here belong to this window. Cores cover the canvas, each pixel once.
    outer
        The core and a halo, clipped to the canvas: what the window sees.
    inner
        The part of the core that no other window sees; empty where the core is no wider than two halos.
    """

    core: Box
    outer: Box
    inner: Box


@dataclass(frozen=True)
class Strip:
    """A column of the canvas that is streamed from top to bottom, so that memory does not grow with its width.

    Attributes
    ----------
    rows
        Windows by row, from the top; within a row from the left.
    next_x0
        First column that the windows of the next strip see; the canvas's width for the last strip.
    """

    rows: tuple[tuple[Window, ...], ...]
    next_x0: int

    @property
    def columns(self) -> tuple[int, int]:
        """Half-open range of columns that the strip's windows see."""
        return self.rows[0][0].outer.x0, self.rows[0][-1].outer.x1


def plan_strips(shape: tuple[int, int], *, core_px: int, halo_px: int, strip_px: int) -> tuple[Strip, ...]:
    """Cut a canvas into windows, grouped into strips of at most `strip_px` columns (at least one window).

    Cores have nearly equal sides of at most `core_px`, which must be at least twice `halo_px`. The order of strips,
    rows and windows is the order in which cells come out.
    """
    edges_y, edges_x = (_edges(length, core_px) for length in shape)
    per_strip = max(1, strip_px // core_px)
    strips = []
    for first in range(0, len(edges_x) - 1, per_strip):
        columns = range(first, min(first + per_strip, len(edges_x) - 1))
        rows = []
        for y0, y1 in pairwise(edges_y):
            cores = [Box(y0, edges_x[i], y1, edges_x[i + 1]) for i in columns]
            rows.append(tuple(_window(core, halo_px, shape) for core in cores))
        last = columns.stop == len(edges_x) - 1
        strips.append(Strip(tuple(rows), shape[1] if last else edges_x[columns.stop] - halo_px))
    return tuple(strips)


def _window(core: Box, halo_px: int, shape: tuple[int, int]) -> Window:
    y0, y1 = _seen_by_none(core.y0, core.y1, halo_px, shape[0])
    x0, x1 = _seen_by_none(core.x0, core.x1, halo_px, shape[1])
    return Window(core, core.grown(halo_px, shape), Box(y0, x0, y1, x1))


def _seen_by_none(start: int, stop: int, halo_px: int, length_px: int) -> tuple[int, int]:
    """Return the half-open range of a core that its neighbours' halos do not reach."""
    first = start if start == 0 else start + halo_px
    last = stop if stop == length_px else stop - halo_px
    return first, max(first, last)


def _edges(length_px: int, core_px: int) -> list[int]:
    count = max(1, -(-length_px // core_px))
    return [length_px * i // count for i in range(count + 1)]
