"""A few cells with known outlines and measurements."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from cohortseg.exports import CellSource
from cohortseg.stores.polygons import PolygonWriter

METADATA = {
    "image": "images/field.tif",
    "pixel_size_um": 0.5,
    "mask_shape": [60, 80],
    "model": {"name": "nuclei-mini", "sha256": "ab"},
    "settings": {"model": "nuclei-mini"},
}


def square(x: float, y: float, side: float = 8) -> shapely.Polygon:
    return shapely.box(x, y, x + side, y + side)


WITH_HOLE = shapely.Polygon(square(20, 10, 10).exterior, [square(23, 13, 3).exterior])
IN_TWO = shapely.MultiPolygon([square(40, 0, 3), square(43, 3, 5)])
OUTLINES = [square(1, 2), WITH_HOLE, IN_TWO, square(60, 30, 12)]


def write_sample(
    folder: Path, outlines: list[Any], table: pd.DataFrame | None, ids: list[int] | None = None, **facts: Any
) -> CellSource:
    """Write a sample whose cells are numbered from 1, or by `ids`; `table` has columns beside cell_id."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = list(range(1, len(outlines) + 1)) if ids is None else ids
    frame = geopandas.GeoDataFrame(
        {
            "cell_id": np.array(ids, np.int64),
            "area_px": np.array([shape.area for shape in outlines], np.int64),
            "centroid_x": np.array([shape.centroid.x for shape in outlines], np.float64),
            "centroid_y": np.array([shape.centroid.y for shape in outlines], np.float64),
            "score": np.linspace(0.5, 1, len(outlines), dtype=np.float32),
            "flow_error": np.linspace(0, 0.3, len(outlines), dtype=np.float32),
            "touches_edge": np.zeros(len(outlines), bool),
        },
        geometry=geopandas.GeoSeries(outlines, dtype="geometry"),
    )
    with PolygonWriter(folder / "polygons.parquet", shape=(60, 80)) as writer:
        writer.append(frame)
    cells = None
    if table is not None:
        cells = folder / "cells.parquet"
        own = frame.drop(columns=["geometry", "flow_error"]).assign(**{name: table[name].array for name in table})
        pd.DataFrame(own).sort_values("cell_id").to_parquet(cells, index=False)
    return CellSource(folder.name, folder / "polygons.parquet", cells, {**METADATA, **facts})


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., CellSource]:
    """Return a function that writes a sample; see `write_sample`."""
    return lambda name, *given, **facts: write_sample(tmp_path / "results" / name, *given, **facts)


@pytest.fixture
def outlines() -> list[Any]:
    """Return the outlines of `source`: a square, one with a hole, two squares that touch at a corner, a square."""
    return list(OUTLINES)


@pytest.fixture
def measured() -> pd.DataFrame:
    """Return two channels, one with a median, with a value that is missing."""
    return pd.DataFrame(
        {
            "eccentricity": [0.1, 0.2, 0.3, 0.4],
            "mean_DAPI": [10.0, 20.0, 30.0, 40.0],
            "median_DAPI": [11.0, 21.0, 31.0, 41.0],
            "mean_CD45": [1.0, np.nan, 3.0, 4.0],
        }
    )


@pytest.fixture
def source(make: Callable[..., CellSource], measured: pd.DataFrame) -> CellSource:
    """Return four cells: two squares, one with a hole, one in two pieces."""
    return make("field", OUTLINES, measured)
