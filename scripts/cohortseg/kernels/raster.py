"""Pixels whose centres lie inside polygons."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.errors import ImageError, TableError
from cohortseg.kernels._jit import jit

# Rows of more crossings than this are sorted by numpy, others by insertion.
_MANY_CROSSINGS = 32
# Beyond this, half a pixel would soon be lost to rounding.
_FARTHEST = 2.0**40


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
    height, width = out.shape
    overwritten = 0
    # row_ends[r + 1] counts the crossings of row r, then is the end of its stretch of `columns`.
    row_ends = np.zeros(height + 2, np.int64)
    columns = np.empty(1024, np.int64)
    for polygon in range(values.size):
        first, last = polygon_rings[polygon], polygon_rings[polygon + 1]
        top, bottom = height, 0
        for ring in range(first, last):
            begin, end = ring_offsets[ring], ring_offsets[ring + 1]
            previous = end - 1
            for vertex in range(begin, end):
                row0, row1 = _rows_crossed(xy[previous, 1], xy[vertex, 1], y0, height)
                previous = vertex
                if row0 < row1:
                    top, bottom = min(top, row0), max(bottom, row1)
                for row in range(row0, row1):
                    row_ends[row + 2] += 1
        if top >= bottom:
            continue
        row_ends[top + 1] = 0
        for row in range(top, bottom):
            row_ends[row + 2] += row_ends[row + 1]
        total = row_ends[bottom + 1]
        if columns.size < total:
            columns = np.empty(2 * total, np.int64)
        for ring in range(first, last):
            begin, end = ring_offsets[ring], ring_offsets[ring + 1]
            previous = end - 1
            for vertex in range(begin, end):
                row0, row1 = _rows_crossed(xy[previous, 1], xy[vertex, 1], y0, height)
                for row in range(row0, row1):
                    columns[row_ends[row + 1]] = _column_crossed(xy, previous, vertex, y0 + row, x0, width)
                    row_ends[row + 1] += 1
                previous = vertex
        begin = 0
        for row in range(top, bottom):
            end = row_ends[row + 1]
            overwritten += _fill_row(columns[begin:end], values[polygon], out[row])
            begin = end
        row_ends[top : bottom + 2] = 0
    return overwritten


@jit
def _rows_crossed(ya: float, yb: float, y0: int, height: int) -> tuple[int, int]:
    """Return the rows (first, end) of the window whose centres lie in the half-open height of an edge."""
    first = np.ceil(min(ya, yb) - 0.5) - y0
    end = np.ceil(max(ya, yb) - 0.5) - y0
    return int(min(max(first, 0.0), float(height))), int(min(max(end, 0.0), float(height)))


@jit
def _column_crossed(xy: NDArray[np.float64], one: int, other: int, row: int, x0: int, width: int) -> int:
    """Return the first column of the window whose centre is not left of an edge, on one row of the image."""
    # Both neighbours of a shared edge compute the same crossing: from its upper end, whatever its direction.
    if xy[one, 1] > xy[other, 1]:
        one, other = other, one
    xa, ya, xb, yb = xy[one, 0], xy[one, 1], xy[other, 0], xy[other, 1]
    x = xa if xa == xb else xa + (row + 0.5 - ya) / (yb - ya) * (xb - xa)
    return int(min(max(np.ceil(x - 0.5) - x0, 0.0), float(width)))


@jit
def _fill_row(columns: NDArray[np.int64], value: np.uint32, row: NDArray[np.uint32]) -> int:
    """Fill between every second pair of crossings; return how many pixels of other values were taken."""
    if columns.size > _MANY_CROSSINGS:
        columns.sort()
    else:
        for i in range(1, columns.size):
            column, j = columns[i], i
            while j > 0 and columns[j - 1] > column:
                columns[j] = columns[j - 1]
                j -= 1
            columns[j] = column
    taken = 0
    for pair in range(0, columns.size - 1, 2):
        for x in range(columns[pair], columns[pair + 1]):
            taken += row[x] != 0 and row[x] != value
            row[x] = value
    return taken
