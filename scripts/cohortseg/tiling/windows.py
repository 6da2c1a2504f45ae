"""Windows for the post-processing: which part of the canvas owns a cell, and how far around it is looked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    wide
        The core and two halos, likewise: what it sees where a cell reaches the border of `outer`.
    inner
        The part of the core that no other window ever sees; empty where the core is no wider than four halos.
    ghost
        Another part of the canvas gives its cells out; here only the pixels that they take count.
    """

    core: Box
    outer: Box
    wide: Box
    inner: Box
    ghost: bool = False


@dataclass(frozen=True)
class Strip:
    """A column of the canvas that is streamed from top to bottom, so that memory does not grow with its width.

    Attributes
    ----------
    rows
        Windows in the order in which they are worked off, those of a row together; ghosts come before the windows
        that see what they see.
    next_x0
        First column that the windows of the next strip see; the canvas's width for the last strip.
    """

    rows: tuple[tuple[Window, ...], ...]
    next_x0: int

    @property
    def seen(self) -> Box:
        """Smallest box that holds all that the strip's windows see."""
        boxes = [window.wide for row in self.rows for window in row]
        y0, x0 = min(box.y0 for box in boxes), min(box.x0 for box in boxes)
        return Box(y0, x0, max(box.y1 for box in boxes), max(box.x1 for box in boxes))


@dataclass(frozen=True)
class Part:
    """Which share of an image a job works on: `index`, from 0, of `count`. The default is all of it."""

    index: int = 0
    count: int = 1

    def slice(self, length: int) -> slice:
        """Return the share of so many things; the shares of all parts make up the whole, in order."""
        return slice(length * self.index // self.count, length * (self.index + 1) // self.count)


WHOLE = Part()


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
        strips.append(Strip(tuple(rows), shape[1] if last else max(0, edges_x[columns.stop] - 2 * halo_px)))
    return tuple(strips)


def select_part(strips: tuple[Strip, ...], part: Part) -> tuple[Strip, ...]:
    """Return what one part of the canvas takes: its share of the rows, and ghosts of the windows before them.

    What a window gives out depends on the pixels that windows before it take; with the ghosts, a part gives out
    what it would give out in the whole. A part may be empty where there are more parts than rows.
    """
    rows = [(index, row) for index, strip in enumerate(strips) for row in strip.rows]
    mine = part.slice(len(rows))
    earlier = [window for _, row in rows[: mine.start] for window in row]
    selected = []
    for index, strip in enumerate(strips):
        own = [row for at, row in rows[mine] if at == index]
        if own:
            selected.append(Strip(tuple(_with_ghosts(own, earlier)), strip.next_x0))
    return tuple(selected)


def window_borders(strips: tuple[Strip, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first rows and the first columns of all cores but those on the canvas's border."""
    cores = [window.core for strip in strips for row in strip.rows for window in row]
    rows, columns = {core.y0 for core in cores}, {core.x0 for core in cores}
    return tuple(sorted(rows - {0})), tuple(sorted(columns - {0}))


def _with_ghosts(own: list[tuple[Window, ...]], earlier: list[Window]) -> Iterator[tuple[Window, ...]]:
    seen = Strip(tuple(own), 0).seen
    waiting = [
        replace(window, ghost=True) for window in earlier if min(window.wide.intersection(seen).shape) > 0
    ]  # fmt: skip
    for row in own:
        bottom = max(window.wide.y1 for window in row)
        yield (*(ghost for ghost in waiting if ghost.wide.y0 < bottom), *row)
        waiting = [ghost for ghost in waiting if ghost.wide.y0 >= bottom]


def _window(core: Box, halo_px: int, shape: tuple[int, int]) -> Window:
    y0, y1 = _seen_by_none(core.y0, core.y1, 2 * halo_px, shape[0])
    x0, x1 = _seen_by_none(core.x0, core.x1, 2 * halo_px, shape[1])
    inner = Box(y0, x0, y1, x1)
    return Window(core, core.grown(halo_px, shape), core.grown(2 * halo_px, shape), inner)


def _seen_by_none(start: int, stop: int, reach_px: int, length_px: int) -> tuple[int, int]:
    """Return the half-open range of a core that what its neighbours see does not reach."""
    first = start if start == 0 else start + reach_px
    last = stop if stop == length_px else stop - reach_px
    return first, max(first, last)


def _edges(length_px: int, core_px: int) -> list[int]:
    count = max(1, -(-length_px // core_px))
    return [length_px * i // count for i in range(count + 1)]
