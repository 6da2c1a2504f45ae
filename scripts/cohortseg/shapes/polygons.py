"""Labels to polygons along pixel edges."""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.kernels.trace import trace_rings


def polygonise(labels: Labels, origin: tuple[int, int] = (0, 0)) -> gpd.GeoDataFrame:
    """Turn a label image into polygons; `rasterise` turns them back into the same image.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background.
    origin
        (y0, x0): the pixel of the whole image that ``labels[0, 0]`` is.

    Returns
    -------
    GeoDataFrame
        One row a label, sorted: ``cell_id`` (int64, the label's value) and ``geometry`` as `geometries` gives it.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    ids, shapes = geometries(labels, origin)
    return gpd.GeoDataFrame({"cell_id": ids}, geometry=shapes)


def geometries(labels: Labels, origin: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Turn a label image into bare shapely geometries.

    Each 4-connected piece of a label becomes one Polygon with its holes, with integer vertices on pixel corners,
    x right and y down. A label of several pieces, also of pieces that touch at a corner, becomes a MultiPolygon of
    them in raster order. All are valid.

    Parameters
    ----------
    labels
        (y, x) uint32, 0 is background.
    origin
        (y0, x0): the pixel of the whole image that ``labels[0, 0]`` is.

    Returns
    -------
    ids, geometries
        (n,) int64 label values in ascending order, and (n,) their geometries.

    Raises
    ------
    ImageError
        If the labels are not a two-dimensional uint32 array.
    """
    rings = trace_rings(labels)
    xy = rings.xy + np.array([origin[1], origin[0]], np.float64)
    first_rings = np.flatnonzero(np.diff(rings.ring_piece, prepend=-1))
    polygon_offsets = np.append(first_rings, len(rings.ring_piece))
    pieces: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, xy, (rings.ring_offsets, polygon_offsets)
    )
    piece_label = rings.ring_label[first_rings].astype(np.int64)
    order = np.argsort(piece_label, kind="stable")
    pieces, piece_label = pieces[order], piece_label[order]
    ids, first_pieces, n_pieces = np.unique(piece_label, return_index=True, return_counts=True)
    shapes = pieces[first_pieces]
    split = n_pieces > 1
    if split.any():
        # multipolygons numbers its results by position, so the labels of several pieces are counted from 0.
        parts = np.repeat(split, n_pieces)
        shapes[split] = shapely.multipolygons(pieces[parts], indices=np.repeat(np.arange(split.sum()), n_pieces[split]))
    return ids, shapes
