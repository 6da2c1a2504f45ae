"""Polygons in well-known binary, turned into runs of pixels without any geometry object between."""

import numpy as np
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.kernels._jit import jit
from cohortseg.kernels._load import load_float64
from cohortseg.kernels._runs import Runs, by_row

__all__ = [
    "BROKEN",
    "DONE",
    "MULTIPOLYGON",
    "OTHER_KIND",
    "POLYGON",
    "Runs",
    "read_head",
    "read_part",
    "wkb_error",
    "wkb_runs",
]

# Rows of more crossings than this are sorted by numpy, others by insertion.
_MANY_CROSSINGS = 32
# Beyond this, half a pixel would soon be lost to rounding; the bound of `raster.fill_polygons`.
_FARTHEST = 2.0**40
POLYGON, MULTIPOLYGON = 3, 6
"""Kinds of geometry that are drawn."""
DONE, BROKEN, OTHER_KIND, BAD_VERTEX = 0, 1, 2, 3
"""What became of a geometry; see `wkb_error`."""


def wkb_runs(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], first: int, shape: tuple[int, int]
) -> tuple[Runs, NDArray[np.int64]]:
    """Return the pixels of polygons in WKB as runs.

    A pixel belongs to a polygon that contains its centre, by the rules of `raster.fill_polygons`: even-odd over all
    rings of a part, left and top edges inside. Parts of a MultiPolygon are drawn one by one, so runs of one polygon
    may overlap where its parts do. Pixels out of the image are left out. Where all vertices lie on the corners of
    pixels, as in our own files, no division is made and the runs are exact.

    Parameters
    ----------
    data
        (bytes,) uint8: one geometry after the other, ISO or extended WKB of either byte order, with or without Z, M.
    offsets
        (n + 1,) int64: where each geometry begins in `data`, and where the last ends. One of no bytes draws nothing.
    first
        The number of the first polygon; they are counted from there.
    shape
        (y, x) of the image in pixels.

    Returns
    -------
    runs, areas
        And (n,) int64: the pixels of each polygon's runs added up.

    Raises
    ------
    TableError
        A geometry is cut off or no (Multi)Polygon, or a vertex is missing, infinite or beyond 2^40 px.
    """
    status, at, rows, spans, starts, areas = _draw_all(data, offsets, shape[0], shape[1])
    if status != DONE:
        raise wkb_error(status, first + at)
    return Runs(*by_row(rows, spans, starts, np.uint32(first))), areas


def wkb_error(status: int, row: int) -> TableError:
    """Return the error of a row of a table whose geometry is not `DONE`."""
    if status == OTHER_KIND:
        return TableError(
            f"row {row} holds another kind of geometry",
            "expected Polygon or MultiPolygon geometries",
            "Drop or convert the other geometries.",
        )
    if status == BAD_VERTEX:
        return TableError(
            f"row {row} has a vertex that is missing, infinite or beyond {_FARTHEST:.0f} pixels",
            "expected (x, y) in pixels of the image",
            "Repair or drop these polygons.",
        )
    return TableError(f"the geometry of row {row} is cut off", "expected complete WKB", "Write the file again.")


@jit
def _uint32(data: NDArray[np.uint8], at: int, little: bool) -> int:
    a, b, c, d = np.int64(data[at]), np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
    if little:
        return int(a | b << 8 | c << 16 | d << 24)
    return int(d | c << 8 | b << 16 | a << 24)


@jit
def read_head(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, bool, int, int]:
    """Read a geometry's head; return its kind (-1: cut off), bytes of a vertex, byte order, count, and what is next.

    ISO WKB adds 1000, 2000 or 3000 to the kind for Z, M and both; extended WKB sets its upper bits and may name a
    reference system, which is skipped.
    """
    if end - at < 9:
        return -1, 0, True, 0, at
    little = data[at] == 1
    kind = _uint32(data, at + 1, little)
    at += 5
    n_axes = 2 + int(kind & 0x80000000 != 0) + int(kind & 0x40000000 != 0)
    if kind & 0x20000000:
        at += 4
    kind &= 0x0FFFFFFF
    if kind >= 1000:
        n_axes = 4 if kind >= 3000 else 3
        kind %= 1000
    if end - at < 4:
        return -1, 0, True, 0, at
    return kind, 8 * n_axes, little, _uint32(data, at, little), at + 4


@jit
def read_part(
    data: NDArray[np.uint8], at: int, end: int, xy: NDArray[np.float64], ring_ends: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Copy the vertices of one polygon, x and y in turn, and the ends of its rings; return status, rings, next."""
    kind, stride, little, n_rings, at = read_head(data, at, end)
    if kind != POLYGON:
        return BROKEN if kind < 0 else OTHER_KIND, 0, at
    n_points, reachable = 0, True
    for ring in range(n_rings):
        if end - at < 4:
            return BROKEN, 0, at
        n = _uint32(data, at, little)
        at += 4
        if (end - at) // stride < n:
            return BROKEN, 0, at
        if little and stride == 16:
            reachable &= _read_ring(data, at, n, xy[2 * n_points :])
        else:
            reachable &= _read_ring(_as_usual(data, at, n, stride, little), 0, n, xy[2 * n_points :])
        at += stride * n
        n_points += n
        ring_ends[ring] = n_points
    return DONE if reachable else BAD_VERTEX, n_rings, at


@jit
def _read_ring(data: NDArray[np.uint8], at: int, n: int, xy: NDArray[np.float64]) -> bool:
    """Read little-endian x, y pairs; return whether all are numbers in reach."""
    reachable = True
    for i in range(2 * n):
        value = load_float64(data, at + 8 * i)
        xy[i] = value
        # A comparison with a missing value is false.
        reachable &= abs(value) <= _FARTHEST
    return reachable


@jit
def _as_usual(data: NDArray[np.uint8], at: int, n: int, stride: int, little: bool) -> NDArray[np.uint8]:
    """Return vertices of any byte order, with any number of axes, as little-endian x, y pairs."""
    usual = np.empty(16 * n, np.uint8)
    for point in range(n):
        for i in range(16):
            usual[16 * point + i] = data[at + stride * point + (i if little else i ^ 7)]
    return usual


@jit
def _find_rows(xy: NDArray[np.float64], n_points: int, height: int, row_of: NDArray[np.int64]) -> tuple[int, int]:
    """Write the first row whose centre is not above each vertex; return the half-open rows that they span."""
    top, bottom = height, 0
    for point in range(n_points):
        row = int(min(max(np.ceil(xy[2 * point + 1] - 0.5), 0.0), float(height)))
        row_of[point] = row
        top, bottom = min(top, row), max(bottom, row)
    return top, bottom


@jit
def _count_crossings(
    row_of: NDArray[np.int64], ring_ends: NDArray[np.int64], n_rings: int, top: int, row_starts: NDArray[np.int64]
) -> None:
    """Add to `row_starts`, all zero, how many crossings more or fewer each row has than the one before."""
    begin = 0
    for ring in range(n_rings):
        end = ring_ends[ring]
        before = row_of[end - 1] if end > begin else 0
        for point in range(begin, end):
            row = row_of[point]
            if row != before:
                row_starts[min(row, before) - top] += 1
                row_starts[max(row, before) - top] -= 1
            before = row
        begin = end


@jit
def _place_crossings(
    xy: NDArray[np.float64],
    row_of: NDArray[np.int64],
    ring_ends: NDArray[np.int64],
    n_rings: int,
    top: int,
    width: int,
    places: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> None:
    """Write the first column whose centre is not left of an edge, for each row that it crosses."""
    begin = 0
    for ring in range(n_rings):
        end = ring_ends[ring]
        previous = end - 1
        for point in range(begin, end):
            row0, row1 = row_of[previous], row_of[point]
            if row0 != row1:
                # From its upper end, so that both neighbours of a shared edge compute the same crossing.
                one, other = previous, point
                if xy[2 * one + 1] > xy[2 * other + 1]:
                    one, other = other, one
                xa, ya, xb, yb = xy[2 * one], xy[2 * one + 1], xy[2 * other], xy[2 * other + 1]
                column = int(min(max(np.ceil(xa - 0.5), 0.0), float(width)))
                for row in range(min(row0, row1), max(row0, row1)):
                    if xa != xb:
                        x = xa + (row + 0.5 - ya) / (yb - ya) * (xb - xa)
                        column = int(min(max(np.ceil(x - 0.5), 0.0), float(width)))
                    columns[places[row - top]] = column
                    places[row - top] += 1
            previous = point
        begin = end


@jit
def _sort_stretch(columns: NDArray[np.int64], begin: int, end: int) -> None:
    if end - begin > _MANY_CROSSINGS:
        columns[begin:end].sort()
        return
    for i in range(begin + 1, end):
        column, j = columns[i], i
        while j > begin and columns[j - 1] > column:
            columns[j] = columns[j - 1]
            j -= 1
        columns[j] = column


@jit
def _write_pairs(
    columns: NDArray[np.int64],
    row_ends: NDArray[np.int64],
    top: int,
    rows: NDArray[np.int32],
    spans: NDArray[np.uint64],
) -> tuple[int, int]:
    """Do what `_write_runs` does where every row is crossed twice, as most are, in a loop without branches.

    Returns 0 runs where a row is crossed otherwise, or not filled.
    """
    area, n_other = 0, 0
    for i in range(row_ends.size):
        one, other = columns[2 * i], columns[2 * i + 1]
        left, right = min(one, other), max(one, other)
        n_other += int(row_ends[i] != 2 * i + 2) + int(left == right)
        rows[i] = top + i
        spans[i] = np.uint64(left) << np.uint64(32) | np.uint64(right)
        area += right - left
    return (0, 0) if n_other else (row_ends.size, area)


@jit
def _write_runs(
    columns: NDArray[np.int64],
    row_ends: NDArray[np.int64],
    top: int,
    rows: NDArray[np.int32],
    spans: NDArray[np.uint64],
) -> tuple[int, int]:
    """Write the runs between every second pair of crossings; return how many there are, and their pixels."""
    begin, area, n_runs = 0, 0, 0
    for i in range(row_ends.size):
        end = row_ends[i]
        if end - begin > 1:
            _sort_stretch(columns, begin, end)
        for pair in range(begin, end - 1, 2):
            left, right = columns[pair], columns[pair + 1]
            if left < right:
                rows[n_runs] = top + i
                spans[n_runs] = np.uint64(left) << np.uint64(32) | np.uint64(right)
                n_runs += 1
                area += right - left
        begin = end
    return n_runs, area


@jit
def _draw_all(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], height: int, width: int
) -> tuple[int, int, NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return status, the geometry it is of, row and span of each run, the first run and the area of each geometry."""
    n = offsets.size - 1
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    xy, row_of = np.empty(longest // 8 + 2, np.float64), np.empty(longest // 16 + 1, np.int64)
    ring_ends = np.empty(longest // 4 + 1, np.int64)
    row_starts = np.zeros(height + 2, np.int64)
    columns = np.zeros(1024, np.int64)
    starts, areas = np.zeros(n + 1, np.int64), np.zeros(n, np.int64)
    # About as many as polygons along pixel edges have.
    capacity = max(data.size // 32, 1024)
    rows, spans = np.empty(capacity, np.int32), np.empty(capacity, np.uint64)
    n_runs = 0
    for i in range(n):
        at, end = offsets[i], offsets[i + 1]
        starts[i + 1] = n_runs
        if at == end:
            continue
        kind, _, _, n_parts, inner = read_head(data, at, end)
        if kind == MULTIPOLYGON:
            at = inner
        elif kind == POLYGON:
            n_parts = 1
        else:
            return BROKEN if kind < 0 else OTHER_KIND, i, rows, spans, starts, areas
        for _part in range(n_parts):
            status, n_rings, at = read_part(data, at, end, xy, ring_ends)
            if status != DONE:
                return status, i, rows, spans, starts, areas
            top, bottom = _find_rows(xy, ring_ends[n_rings - 1] if n_rings else 0, height, row_of)
            if top >= bottom:
                continue
            total = _count_and_start(row_of, ring_ends, n_rings, top, row_starts[: bottom - top + 1])
            if columns.size < max(total, 2 * (bottom - top)):
                columns = np.zeros(2 * max(total, 2 * (bottom - top)), np.int64)
            while rows.size < n_runs + max(total // 2, bottom - top):
                rows, spans = np.append(rows, np.empty_like(rows)), np.append(spans, np.empty_like(spans))
            _place_crossings(xy, row_of, ring_ends, n_rings, top, width, row_starts, columns)
            n_rows = bottom - top
            added, area = _write_pairs(columns, row_starts[:n_rows], top, rows[n_runs:], spans[n_runs:])
            if added < n_rows:
                added, area = _write_runs(columns, row_starts[:n_rows], top, rows[n_runs:], spans[n_runs:])
            n_runs += added
            areas[i] += area
            row_starts[: bottom - top + 1] = 0
        starts[i + 1] = n_runs
    return DONE, 0, rows[:n_runs], spans[:n_runs], starts, areas


@jit
def _count_and_start(
    row_of: NDArray[np.int64], ring_ends: NDArray[np.int64], n_rings: int, top: int, row_starts: NDArray[np.int64]
) -> int:
    """Turn `row_starts`, all zero, into the place of each row's first crossing; return how many there are."""
    _count_crossings(row_of, ring_ends, n_rings, top, row_starts)
    total, in_row = 0, 0
    for row in range(row_starts.size):
        in_row += row_starts[row]
        row_starts[row] = total
        total += in_row
    return total
