"""Which cells are near which, by their centroids."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

PAIRS = pa.schema(
    [
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("neighbour_id", pa.int64(), nullable=False),
        pa.field("distance_px", pa.float64(), nullable=False),
    ]
)
"""Columns of neighbours.parquet."""

_MOST_PAIRS = 1 << 21
_MOST_CELLS = 1 << 16


def add_neighbours(cells: pd.DataFrame, distance_px: float, on_pairs: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    """Return the table of cells with what is known of the neighbours of each.

    Parameters
    ----------
    cells
        `cell_id`, ascending, `centroid_x` and `centroid_y`; a cell without a centroid has no neighbours.
    distance_px
        Cells whose centroids are at most so far apart are neighbours.
    on_pairs
        Takes the pairs of neighbours, some at a time, each pair once: `cell_id`, the smaller one, `neighbour_id` and
        `distance_px`, sorted by both ids.

    Returns
    -------
    DataFrame
        The same with `n_neighbours` (int64), and of the nearest other cell, however far away, `nearest_id` (Int64, of
        equally near ones the smallest) and `nearest_px`, both missing where there is no other cell.
    """
    ids, points = cells["cell_id"].to_numpy(), cells[["centroid_x", "centroid_y"]].to_numpy()
    placed = np.flatnonzero(np.isfinite(points).all(axis=1))
    tree = cKDTree(points[placed])
    n_neighbours = np.zeros(len(cells), np.int64)
    for low, high, apart_px in _pairs(tree, distance_px):
        low, high = placed[low], placed[high]
        n_neighbours += np.bincount(low, minlength=len(cells)) + np.bincount(high, minlength=len(cells))
        on_pairs(pd.DataFrame({"cell_id": ids[low], "neighbour_id": ids[high], "distance_px": apart_px}))
    nearest, nearest_px = np.full(len(cells), -1, np.int64), np.full(len(cells), np.nan)
    if placed.size > 1:
        found, nearest_px[placed] = _nearest(tree)
        nearest[placed] = placed[found]
    nearest_id = pd.Series(ids[nearest], index=cells.index, dtype="Int64").mask(nearest < 0)
    table: dict[Any, Any] = dict(cells.items())
    table |= {"n_neighbours": n_neighbours, "nearest_id": nearest_id, "nearest_px": nearest_px}
    return pd.DataFrame(table, copy=False)  # `assign` would copy a large table


def _pairs(
    tree: cKDTree, distance: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the pairs of points within a distance, the smaller index first, sorted; and how far apart they are."""
    start = 0
    while start < tree.n:
        some = tree.data[start : start + _MOST_CELLS]
        counts = np.cumsum(tree.query_ball_point(some, distance, return_length=True))
        # At least one cell, however many neighbours it has.
        end = start + max(1, int(np.searchsorted(counts, _MOST_PAIRS, side="right")))
        found = cKDTree(tree.data[start:end]).sparse_distance_matrix(tree, distance, output_type="ndarray")
        low, high, apart = found["i"] + start, found["j"], found["v"]
        once = low < high
        order = np.argsort(low[once] * tree.n + high[once])
        yield low[once][order], high[once][order], apart[once][order]
        start = end


def _nearest(tree: cKDTree) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each of at least two points the nearest other one, of equally near ones the first, and how far."""
    nearest, distances = np.empty(tree.n, np.int64), np.empty(tree.n)
    for start in range(0, tree.n, _MOST_CELLS):
        some = tree.data[start : start + _MOST_CELLS]
        # Of a point's two nearest one is itself or at the same place; where more are as near, they are looked at apart.
        reach, found = tree.query(some, k=2)
        own = np.arange(start, start + len(some))
        nearest[own], distances[own] = np.where(found[:, 0] == own, found[:, 1], found[:, 0]), reach[:, 1]
        widened = np.nextafter(reach[:, 1], np.inf)
        for i in np.flatnonzero(tree.query_ball_point(some, widened, return_length=True) != 2):
            others = np.array(
                [j for j in tree.query_ball_point(some[i], widened[i], return_sorted=True) if j != own[i]]
            )
            apart = ((tree.data[others] - some[i]) ** 2).sum(axis=1)
            nearest[own[i]] = others[np.argmin(apart)]
    return nearest, distances
