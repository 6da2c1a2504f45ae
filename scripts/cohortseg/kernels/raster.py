"""Pixels whose centres lie inside polygons."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError, TableError
from cohortseg.kernels._jit import jit
from cohortseg.kernels.wkb import (
    BROKEN,
    DONE,
    MULTIPOLYGON,
    OTHER_KIND,
    POLYGON,
    read_head,
    read_part,
    wkb_error,
)

# Beyond this, half a pixel would soon be lost to rounding.
_FARTHEST = 2.0**40
# Pixels in the bounds of most cells.
_FEW_TOGGLES = 4096


def fill_polygons(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_rings: NDArray[np.int64],
    values: NDArray[np.uint32],
    out: Labels,
    origin: tuple[int, int],
) -> int:
    """Write each polygon's value into the pixels whose centres it contains, in place.

    Inside is even-odd over all rings of the polygon, whatever their orientation. A centre exactly on an edge is
    inside at a left or top edge and outside at a right or bottom edge, so polygons that share an edge neither
    share nor drop a pixel. Later polygons win. Polygons may reach out of `out`; the pixels are the same
    whatever window they are drawn in.

    Parameters
    ----------
    xy
        (N, 2) float64 vertices (x, y) in full-resolution pixels. The last vertex of a ring may repeat its first.
    ring_offsets
        (rings + 1,) the first vertex of each ring.
    polygon_rings
        (n + 1,) the first ring of each polygon.
    values
        (n,) uint32, the value of each polygon.
    out
        (y, x) uint32, written to.
    origin
        (y0, x0): the pixel of the whole image that ``out[0, 0]`` is.

    Returns
    -------
    int
        Pixels that held another nonzero value before a polygon took them.

    Raises
    ------
    TableError
        If a vertex is missing, infinite or further than 2^40 pixels out, or offsets do not fit what they index.
    ImageError
        If `out` is not a two-dimensional uint32 array.
    """
    _check_polygons(xy, ring_offsets, polygon_rings, values)
    if out.ndim != 2 or out.dtype != np.uint32:
        raise ImageError(
            f"an image of shape {out.shape} and type {out.dtype}",
            "expected (y, x) uint32 to draw polygons into",
            "Make it with numpy.zeros(shape, numpy.uint32).",
        )
    xy, values = np.ascontiguousarray(xy, np.float64), np.ascontiguousarray(values, np.uint32)
    ring_offsets = np.ascontiguousarray(ring_offsets, np.int64)
    polygon_rings = np.ascontiguousarray(polygon_rings, np.int64)
    return _fill_kernel(xy, ring_offsets, polygon_rings, values, out, origin[0], origin[1])


def _check_polygons(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_rings: NDArray[np.int64],
    values: NDArray[np.uint32],
) -> None:
    """Raise TableError unless vertices, offsets and values fit together: the compiled loops do not look."""
    # A comparison with a missing coordinate is false, so this finds those too.
    if xy.ndim != 2 or xy.shape[1] != 2 or not (np.abs(xy) <= _FARTHEST).all():
        raise TableError(
            f"polygon vertices of shape {xy.shape}, some missing, infinite or beyond {_FARTHEST:.0f} pixels",
            "expected (N, 2) numbers (x, y) in pixels of the image",
            "Repair or drop these polygons.",
        )
    _check_offsets(ring_offsets, len(xy), "ring")
    _check_offsets(polygon_rings, len(ring_offsets) - 1, "polygon")
    if len(values) != len(polygon_rings) - 1:
        raise TableError(
            f"{len(values)} values for {len(polygon_rings) - 1} polygons",
            "expected one value for each polygon",
            "Give the polygons and their values row by row.",
        )


def _check_offsets(offsets: NDArray[np.int64], total: int, name: str) -> None:
    """Raise TableError unless the offsets rise from 0 to `total`."""
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != total or np.any(np.diff(offsets) < 0):
        raise TableError(
            f"{name} offsets that do not rise from 0 to {total}",
            "expected the start of each part and the end of the last",
            "Build the offsets with numpy.cumsum over the lengths of the parts.",
        )


def draw_wkb(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    values: NDArray[np.uint32],
    out: Labels,
    origin: tuple[int, int],
    first_row: int,
) -> int:
    """Do what `fill_polygons` does with Polygons and MultiPolygons in WKB, without copies of all their vertices.

    Parameters
    ----------
    data
        (bytes,) uint8: one geometry after the other, as `wkb.wkb_runs` takes them.
    offsets
        (n + 1,) int64: where each geometry begins in `data`, and where the last ends. One of no bytes draws nothing.
    values
        (n,) uint32, the value of each geometry.
    out, origin
        As for `fill_polygons`.
    first_row
        Row of the table that the first geometry is, for messages.

    Returns
    -------
    int
        Pixels that held another nonzero value before a geometry took them.

    Raises
    ------
    TableError
        A geometry is cut off or no (Multi)Polygon, or a vertex is missing, infinite or beyond 2^40 px.
    """
    status, row, overwritten = _draw_kernel(data, offsets, values, out, origin[0], origin[1])
    if status != DONE:
        raise wkb_error(status, first_row + row)
    return int(overwritten)


@jit
def _draw_kernel(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], values: NDArray[np.uint32], out: Labels, y0: int, x0: int
) -> tuple[int, int, int]:
    """Return the status, the row that it is of, and the pixels that were taken from others."""
    longest = 0
    for row in range(values.size):
        longest = max(longest, offsets[row + 1] - offsets[row])
    flat, ring_offsets = np.empty(longest // 8 + 2, np.float64), np.zeros(longest // 4 + 2, np.int64)
    overwritten, toggles = 0, np.zeros(_FEW_TOGGLES, np.bool_)
    for row in range(values.size):
        at, end = offsets[row], offsets[row + 1]
        if at == end:
            continue
        kind, _, _, n_parts, inner = read_head(data, at, end)
        if kind == MULTIPOLYGON:
            at = inner
        elif kind == POLYGON:
            n_parts = 1
        else:
            return BROKEN if kind < 0 else OTHER_KIND, row, overwritten
        for _part in range(n_parts):
            status, n_rings, at = read_part(data, at, end, flat, ring_offsets[1:])
            if status != DONE:
                return status, row, overwritten
            xy = flat[: 2 * ring_offsets[n_rings]].reshape(-1, 2)
            taken, toggles = _fill_polygon(xy, ring_offsets[: n_rings + 1], values[row], out, (y0, x0), toggles)
            overwritten += taken
    return DONE, 0, overwritten


@jit
def _fill_kernel(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_rings: NDArray[np.int64],
    values: NDArray[np.uint32],
    out: Labels,
    y0: int,
    x0: int,
) -> int:
    overwritten, toggles = 0, np.zeros(_FEW_TOGGLES, np.bool_)
    for polygon in range(values.size):
        rings = ring_offsets[polygon_rings[polygon] : polygon_rings[polygon + 1] + 1]
        taken, toggles = _fill_polygon(xy, rings, values[polygon], out, (y0, x0), toggles)
        overwritten += taken
    return overwritten


@jit
def _fill_polygon(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    value: np.uint32,
    out: Labels,
    origin: tuple[int, int],
    toggles: NDArray[np.bool_],
) -> tuple[int, NDArray[np.bool_]]:
    """Fill one polygon; return how many pixels of other values were taken, and `toggles`, made larger if need be.

    `toggles`, all false, has a byte for each pixel of the polygon's bounds in the window, and one more at the right of
    each row: whether the edges that cross the row left of the pixel's centre, and right of the one before, are odd.
    """
    top, bottom, left, right = _bounds(xy[ring_offsets[0] : ring_offsets[-1]], origin, out.shape)
    if top >= bottom or left >= right:
        return 0, toggles
    stride = right - left + 1
    if toggles.size < (bottom - top) * stride:
        toggles = np.zeros(2 * (bottom - top) * stride, np.bool_)
    for ring in range(ring_offsets.size - 1):
        _toggle_ring(xy[ring_offsets[ring] : ring_offsets[ring + 1]], toggles, (top, bottom, left, right), origin)
    taken = 0
    for row in range(top, bottom):
        at = (row - top) * stride
        taken += _fill_row(toggles[at : at + stride], value, out[row, left:right])
    return taken, toggles


@jit
def _bounds(xy: NDArray[np.float64], origin: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the rows and columns (top, bottom, left, right) of the window whose centres may lie in a polygon."""
    if len(xy) == 0:
        return 0, 0, 0, 0
    xmin = xmax = xy[0, 0]
    ymin = ymax = xy[0, 1]
    for vertex in range(1, len(xy)):
        xmin, xmax = min(xmin, xy[vertex, 0]), max(xmax, xy[vertex, 0])
        ymin, ymax = min(ymin, xy[vertex, 1]), max(ymax, xy[vertex, 1])
    (y0, x0), (height, width) = origin, shape
    top, bottom = _first(ymin, y0, 0, height), _first(ymax, y0, 0, height)
    return top, bottom, _first(xmin, x0, 0, width), _first(xmax, x0, 0, width)


@jit
def _first(place: float, start: int, low: int, high: int) -> int:
    """Return the first row or column, counted from `start` and clipped, whose centre is not before a place."""
    return min(max(int(np.ceil(place - 0.5)) - start, low), high)


@jit
def _toggle_ring(
    xy: NDArray[np.float64], toggles: NDArray[np.bool_], bounds: tuple[int, int, int, int], origin: tuple[int, int]
) -> None:
    """Toggle, for each row that each edge of a ring crosses, the first column whose centre is not left of it.

    Both neighbours of a shared edge compute the same crossing: from its upper end, whatever its direction, and
    within its columns, whatever rounding does.
    """
    top, bottom, left, right = bounds
    y0, x0 = origin
    previous = len(xy) - 1
    for vertex in range(len(xy)):
        one, other = previous, vertex
        previous = vertex
        if xy[one, 1] == xy[other, 1]:
            continue
        if xy[one, 1] > xy[other, 1]:
            one, other = other, one
        xa, ya, xb, yb = xy[one, 0], xy[one, 1], xy[other, 0], xy[other, 1]
        row0, row1 = _first(ya, y0, top, bottom), _first(yb, y0, top, bottom)
        column_a = _first(xa, x0, left, right)
        if xa == xb:
            at = (row0 - top) * (right - left + 1) + column_a - left
            for _ in range(row0, row1):
                toggles[at] = not toggles[at]
                at += right - left + 1
            continue
        column_b = _first(xb, x0, left, right)
        leftmost, rightmost = min(column_a, column_b), max(column_a, column_b)
        for row in range(row0, row1):
            column = _first(xa + (y0 + row + 0.5 - ya) / (yb - ya) * (xb - xa), x0, leftmost, rightmost)
            at = (row - top) * (right - left + 1) + column - left
            toggles[at] = not toggles[at]


@jit
def _fill_row(toggles: NDArray[np.bool_], value: np.uint32, row: NDArray[np.uint32]) -> int:
    """Fill between every second crossing, clearing them; return how many pixels of other values were taken."""
    taken, inside = 0, False
    for x in range(row.size):
        inside ^= toggles[x]
        toggles[x] = False
        if inside:
            taken += row[x] != 0 and row[x] != value
            row[x] = value
    toggles[row.size] = False
    return taken
