"""GeoParquet 1.1: tables of polygons as arrow tables and back."""

import json
from collections.abc import Collection
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from cohortseg.errors import TableError

BBOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")
BBOX_TYPE = pa.struct([pa.field(name, pa.float64()) for name in BBOX_FIELDS])
COMPRESSION = "zstd"

Bounds = tuple[float, float, float, float]
"""(xmin, ymin, xmax, ymax)."""


def bounds_column(geometries: NDArray[np.object_]) -> pa.StructArray:
    """Return the covering column of geometries: a struct of their bounds, null for empty ones."""
    bounds = shapely.bounds(geometries)
    empty = np.isnan(bounds[:, 0])
    columns = [pa.array(np.ascontiguousarray(bounds[:, i])) for i in range(4)]
    return pa.StructArray.from_arrays(columns, fields=list(BBOX_TYPE), mask=pa.array(empty) if empty.any() else None)


def total_bounds(geometries: NDArray[np.object_]) -> Bounds | None:
    """Return the bounds of all geometries together; None where there are none or all are empty."""
    if len(geometries) == 0:
        return None
    xmin, ymin, xmax, ymax = map(float, shapely.total_bounds(geometries))
    return None if np.isnan(xmin) else (xmin, ymin, xmax, ymax)


def to_arrow(table: geopandas.GeoDataFrame) -> pa.Table:
    """Return a table with `geometry` as WKB and the covering column `bbox` added, without geo metadata.

    The index is dropped.
    """
    geometries = np.asarray(table.geometry.array)
    columns: dict[str, Any] = {}
    for name in table.columns:
        if name == table.geometry.name:
            columns["geometry"] = pa.array(shapely.to_wkb(geometries), pa.binary())
        else:
            columns[str(name)] = pa.Array.from_pandas(table[name])
    columns["bbox"] = bounds_column(geometries)
    return pa.table(columns)


def geo_metadata(bounds: Bounds | None, geometry_types: Collection[str]) -> dict[str, str]:
    """Return the file metadata of a GeoParquet file whose polygons are in pixels, without a reference system."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(geometry_types),
        "crs": None,
        "edges": "planar",
        "covering": {"bbox": {name: ["bbox", name] for name in BBOX_FIELDS}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return {"geo": json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})}


def from_arrow(table: pa.Table, geometry: str) -> geopandas.GeoDataFrame:
    """Return a table read from a file, with its WKB column `geometry` as geometries named "geometry".

    Raises
    ------
    TableError
        A geometry is not valid WKB.
    """
    try:
        geometries = shapely.from_wkb(table[geometry].to_numpy(zero_copy_only=False))
    except (shapely.errors.GEOSException, TypeError) as error:
        raise TableError(
            f"column {geometry!r} holds no geometries: {error}", "expected WKB", "Write the file again."
        ) from error
    frame: pd.DataFrame = table.drop_columns([geometry]).to_pandas(ignore_metadata=True)
    frame.insert(0, "geometry", geometries)
    ordered = ["geometry" if name == geometry else name for name in table.column_names]
    return geopandas.GeoDataFrame(frame[ordered], geometry="geometry")
