"""A window's cells as rows of polygons.parquet."""

import geopandas
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.segment.cells import WindowCells
from cohortseg.shapes.polygons import geometries


def cell_table(cells: WindowCells, image_shape: tuple[int, int]) -> geopandas.GeoDataFrame:
    """Return one row a cell, in the order of the labels, with the columns of polygons.parquet.

    `cell_id` counts from 1 within the window; the writer numbers the cells of the whole image.
    """
    ids, shapes = geometries(cells.labels, (cells.outer.y0, cells.outer.x0))
    counts, centroid_y, centroid_x = _moments(cells.labels, len(ids), cells.outer)
    columns = {
        "cell_id": ids,
        "area_px": counts,
        "centroid_x": centroid_x,
        "centroid_y": centroid_y,
        "score": cells.scores,
        "flow_error": cells.flow_errors,
        "touches_edge": _touches_edge(cells, image_shape),
    }
    return geopandas.GeoDataFrame(columns, geometry=shapes)


def _moments(
    labels: Labels, n_cells: int, outer: Box
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return pixel counts and mean pixel centres (y, x) of labels 1 to n, exact whatever the window."""
    y, x = np.nonzero(labels)
    values = labels[y, x]
    counts = np.bincount(values, minlength=n_cells + 1)[1:].astype(np.int64)
    # Sums of whole numbers are exact, so the window that a cell comes from does not show.
    sums = (np.bincount(values, weights=axis, minlength=n_cells + 1)[1:] for axis in (y + outer.y0, x + outer.x0))
    mean_y, mean_x = (total / np.maximum(counts, 1) + 0.5 for total in sums)
    return counts, mean_y, mean_x


def _touches_edge(cells: WindowCells, image_shape: tuple[int, int]) -> NDArray[np.bool_]:
    touches = np.zeros(len(cells.scores) + 1, np.bool_)
    labels, outer = cells.labels, cells.outer
    if outer.y0 == 0:
        touches[labels[0]] = True
    if outer.x0 == 0:
        touches[labels[:, 0]] = True
    if outer.y1 == image_shape[0]:
        touches[labels[-1]] = True
    if outer.x1 == image_shape[1]:
        touches[labels[:, -1]] = True
    return touches[1:]
