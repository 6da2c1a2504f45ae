"""Two planes of a stack for the benchmark of stitching: cells on a jittered grid, written as polygons.parquet."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import geopandas
import numba
import numpy as np
from numpy.typing import NDArray

from cohortseg.shapes.polygons import geometries
from cohortseg.stores.polygons import PolygonWriter

PITCH_PX = 40
"""Distance of the grid: 80,000 px hold 4 million cells, about 20 to 28 px across."""
TILE_CELLS = 26
"""Cells along the side of what is written as one row group, as a window's cells are. Even, for merged pairs."""
_MISSING, _MERGED = 0.03, 0.06
_SHARE = 2.0**-64


def write_plane(path: Path, side_px: int, plane: int) -> int:
    """Write plane 0 or 1 of a square stack; return its cells.

    Outlines follow pixel edges and no two cells overlap. Plane 1 has the cells of plane 0 moved by up to 3 px and
    up to 1 px larger or smaller, 3 of 100 missing, and 3 of 100 pairs of neighbours merged into one.
    """
    n_grid = side_px // PITCH_PX
    starts = range(0, n_grid, TILE_CELLS)
    n_cells = 0
    with PolygonWriter(path, shape=(side_px, side_px)) as writer:
        for table in _ahead(lambda start: _tile(start, n_grid, plane), ((y, x) for y in starts for x in starts)):
            table["cell_id"] = np.arange(n_cells + 1, n_cells + len(table) + 1)
            n_cells += len(table)
            writer.append(table)
    return n_cells


def _ahead(
    make: Callable[[tuple[int, int]], geopandas.GeoDataFrame], starts: Iterator[tuple[int, int]]
) -> Iterator[geopandas.GeoDataFrame]:
    """Yield what `make` gives of each start, in order, made by a few threads ahead of their use."""
    with ThreadPoolExecutor(3) as pool:
        waiting: deque[Future[geopandas.GeoDataFrame]] = deque()
        for start in starts:
            waiting.append(pool.submit(make, start))
            if len(waiting) > 6:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _tile(start: tuple[int, int], n_grid: int, plane: int) -> geopandas.GeoDataFrame:
    rows, columns = (min(TILE_CELLS, n_grid - first) for first in start)
    labels = np.zeros((rows * PITCH_PX, columns * PITCH_PX), np.uint32)
    sums = np.zeros((rows * columns + 1, 3), np.int64)
    draw_tile(labels, sums, start[0], start[1], plane)
    ids, shapes = geometries(labels, (start[0] * PITCH_PX, start[1] * PITCH_PX))
    area_px, sum_y, sum_x = sums[ids].T
    columns_of = {
        "cell_id": ids,
        "area_px": area_px,
        "centroid_x": sum_x / area_px + start[1] * PITCH_PX + 0.5,
        "centroid_y": sum_y / area_px + start[0] * PITCH_PX + 0.5,
        "score": np.ones(len(ids), np.float32),
        "flow_error": np.zeros(len(ids), np.float32),
        "touches_edge": np.zeros(len(ids), np.bool_),
    }
    return geopandas.GeoDataFrame(columns_of, geometry=shapes)


@numba.njit(cache=True, nogil=True)
def _random(row: int, column: int, salt: int) -> float:
    """Return a number from 0 to 1 that depends on the place alone (the mixing function of SplitMix64)."""
    x = np.uint64(row) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(column) * np.uint64(0xD1B54A32D192ED03)
    x += np.uint64(salt) * np.uint64(0x8CB92BA72F3D8DD7)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float(x ^ (x >> np.uint64(31))) * _SHARE


@numba.njit(cache=True, nogil=True)
def draw_tile(labels: NDArray[np.uint32], sums: NDArray[np.int64], row0: int, column0: int, plane: int) -> None:
    """Draw the cells of a tile of the grid, numbered from 1, and add up their pixels, rows and columns."""
    n_columns = labels.shape[1] // PITCH_PX
    for i in range(labels.shape[0] // PITCH_PX):
        for j in range(n_columns):
            fate = _random(row0 + i, column0 + j, 9) if plane else 1.0
            left = _random(row0 + i, column0 + j - 1, 9) if plane and j % 2 else 1.0
            if fate < _MISSING and not _MISSING <= left < _MERGED:
                continue
            merged = _MISSING <= left < _MERGED
            label = i * n_columns + j + (0 if merged else 1)
            _draw_cell(labels, sums, i, j, row0, column0, plane, label)
            if merged:
                _draw_bar(labels, sums, i, j, label)


@numba.njit(cache=True, nogil=True)
def _draw_cell(
    labels: NDArray[np.uint32], sums: NDArray[np.int64], i: int, j: int, row0: int, column0: int, plane: int, label: int
) -> None:
    """Draw an ellipse with three lobes, within its square of the grid."""
    r, c = row0 + i, column0 + j
    y = (i + 0.5) * PITCH_PX + 4 * _random(r, c, 1) - 2 + plane * (6 * _random(r, c, 2) - 3)
    x = (j + 0.5) * PITCH_PX + 4 * _random(r, c, 3) - 2 + plane * (6 * _random(r, c, 4) - 3)
    long_px = 10 + 3.5 * _random(r, c, 5) + plane * (2 * _random(r, c, 6) - 1)
    short_px = long_px * (0.8 + 0.2 * _random(r, c, 7))
    turn = 2 * np.pi * _random(r, c, 8)
    cos, sin = np.cos(turn), np.sin(turn)
    for py in range(int(y) - 17, int(y) + 18):
        for px in range(int(x) - 17, int(x) + 18):
            if py < 0 or px < 0 or py >= labels.shape[0] or px >= labels.shape[1]:
                continue
            u = ((px + 0.5 - x) * cos + (py + 0.5 - y) * sin) / long_px
            v = ((py + 0.5 - y) * cos - (px + 0.5 - x) * sin) / short_px
            d = np.sqrt(u * u + v * v)
            lobes = (4 * u * u * u / (d * d * d) - 3 * u / d) if d > 0 else 0.0  # cos 3t
            if d <= 0.95 + 0.05 * lobes:
                _take(labels, sums, py, px, label)


@numba.njit(cache=True, nogil=True)
def _draw_bar(labels: NDArray[np.uint32], sums: NDArray[np.int64], i: int, j: int, label: int) -> None:
    """Join a cell to the one left of it."""
    y, x = i * PITCH_PX + PITCH_PX // 2, j * PITCH_PX + PITCH_PX // 2
    for py in range(y - 3, y + 3):
        for px in range(x - PITCH_PX, x):
            _take(labels, sums, py, px, label)


@numba.njit(cache=True, nogil=True)
def _take(labels: NDArray[np.uint32], sums: NDArray[np.int64], y: int, x: int, label: int) -> None:
    if labels[y, x] == 0:
        labels[y, x] = label
        sums[label, 0] += 1
        sums[label, 1] += y
        sums[label, 2] += x
