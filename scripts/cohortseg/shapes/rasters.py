"""Polygons to labels."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, TableError
from cohortseg.kernels.raster import fill_polygons

_LARGEST = int(np.iinfo(np.uint32).max)

GeometriesAndValues = tuple[NDArray[np.object_] | Sequence[object], NDArray[np.integer]]
"""Shapely geometries and one value each."""


def rasterise(
    polygons: gpd.GeoDataFrame | GeometriesAndValues, shape: tuple[int, int], box: Box | None = None
) -> Labels:
    """Draw polygons into a label image, or into one box of it.

    A pixel belongs to a polygon that contains its centre; see `rasterise_into` for the rules.

    Parameters
    ----------
    polygons
        A table with ``cell_id`` and ``geometry``, or geometries and their values.
    shape
        (height, width) of the whole image in pixels. Polygons that reach out of it are clipped.
    box
        The part of the image to draw; all of it where None.

    Returns
    -------
    Labels
        (y, x) uint32 over the box; 0 is background, other values are the cell ids.

    Raises
    ------
    ImageError
        If the box reaches out of the image.
    TableError
        If a table lacks ``cell_id``; otherwise as `rasterise_into`.
    """
    whole = Box(0, 0, *shape)
    box = whole if box is None else box
    if box.intersection(whole) != box:
        raise ImageError(f"{box} of an image of {shape}", f"expected a part of {whole}", "Clip the box to the image.")
    labels, _ = rasterise_into(*_columns(polygons), box)
    return labels


def rasterise_into(
    geometries: NDArray[np.object_] | Sequence[object], values: NDArray[np.integer], box: Box
) -> tuple[Labels, int]:
    """Draw geometries into one box of an image and count the pixels over which they conflict.

    A pixel belongs to a polygon that contains its centre; a centre exactly on an edge is inside at a left or top
    edge and outside at a right or bottom edge. An invalid polygon is even-odd over its rings. Later rows win.
    Empty and missing geometries draw nothing.

    Parameters
    ----------
    geometries
        (n,) shapely Polygons or MultiPolygons in full-resolution pixels, x right, y down.
    values
        (n,) whole numbers from 1 to 2^32 - 1.
    box
        What to draw, in pixels of the whole image.

    Returns
    -------
    labels, overlapped_px
        (y, x) uint32 over the box, and how many pixels of one value were taken by another.

    Raises
    ------
    TableError
        If a value does not fit, a geometry is not polygonal, or a vertex is missing or infinite.
    """
    shapes = np.asarray(geometries, dtype=object)
    cell_values = label_values(np.asarray(values), len(shapes))
    kinds = shapely.get_type_id(shapes)
    polygonal = np.isin(kinds, (-1, shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if not polygonal.all():
        row = int(np.argmin(polygonal))
        raise TableError(
            f"a {shapely.GeometryType(kinds[row]).name} in row {row}",
            "expected Polygon or MultiPolygon geometries",
            "Drop or convert the other geometries.",
        )
    parts, rows = shapely.get_parts(shapes, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, vertex_ring = shapely.get_coordinates(rings, return_index=True)
    labels = np.zeros(box.shape, np.uint32)
    overlapped_px = fill_polygons(
        xy,
        np.searchsorted(vertex_ring, np.arange(len(rings) + 1)),
        np.searchsorted(ring_part, np.arange(len(parts) + 1)),
        cell_values[rows],
        labels,
        (box.y0, box.x0),
    )
    return labels, overlapped_px


def _columns(
    polygons: gpd.GeoDataFrame | GeometriesAndValues,
) -> tuple[NDArray[np.object_] | Sequence[object], NDArray[np.integer]]:
    """Return the geometries and ids of a table."""
    if isinstance(polygons, tuple):
        return polygons
    if "cell_id" not in polygons.columns:
        raise TableError(
            f"a table with the columns {', '.join(map(str, polygons.columns))}",
            "expected cell_id and geometry",
            "Add a cell_id column, numbered from 1.",
        )
    return np.asarray(polygons.geometry.values), polygons["cell_id"].to_numpy()


def label_values(values: NDArray[np.generic], n_geometries: int) -> NDArray[np.uint32]:
    """Return the (n,) cell ids of geometries as uint32; raise TableError where a label image cannot hold them."""
    if values.shape != (n_geometries,):
        raise TableError(
            f"values of shape {values.shape} for {n_geometries} geometries",
            "expected one value for each geometry",
            "Give geometries and values row by row.",
        )
    whole = values.dtype.kind in "iu"
    if n_geometries and not (whole and int(values.min()) >= 1 and int(values.max()) <= _LARGEST):
        raise TableError(
            f"cell ids of type {values.dtype} from {values.min()} to {values.max()}",
            f"expected whole numbers from 1 to {_LARGEST}, as a label image holds them",
            "Renumber the cells from 1.",
        )
    return values.astype(np.uint32)
