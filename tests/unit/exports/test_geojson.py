"""cells.geojson, as geopandas and QuPath's documented structure have it."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import jsonschema
import numpy as np
import pandas as pd
import pytest
import shapely

from cohortseg.exports import CellSource, write_geojson

PLACE = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
RING = {"type": "array", "items": PLACE, "minItems": 4}
POLYGON = {"type": "array", "items": RING, "minItems": 1}
GEOMETRY = {
    "type": "object",
    "required": ["type", "coordinates"],
    "oneOf": [
        {"properties": {"type": {"const": "Polygon"}, "coordinates": POLYGON}},
        {"properties": {"type": {"const": "MultiPolygon"}, "coordinates": {"type": "array", "items": POLYGON}}},
    ],
}
QUPATH = {
    "type": "object",
    "required": ["type", "features"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
                    "geometry": GEOMETRY,
                    "nucleusGeometry": GEOMETRY,
                    "properties": {
                        "type": "object",
                        "required": ["objectType"],
                        "additionalProperties": False,
                        "properties": {
                            "objectType": {"enum": ["annotation", "detection", "cell", "tile", "root"]},
                            "name": {"type": "string"},
                            "isLocked": {"type": "boolean"},
                            "classification": {"type": "object", "required": ["name"]},
                            "measurements": {"type": "object", "additionalProperties": {"type": "number"}},
                        },
                    },
                },
            },
        },
    },
}
"""What QuPath 0.4 and later write and read of objects."""


def written(folder: Path, source: CellSource) -> dict[str, Any]:
    write_geojson(folder / "cells.geojson", source)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads((folder / "cells.geojson").read_text(encoding="utf-8"), parse_constant=refuse)
    jsonschema.validate(found, QUPATH)
    return found


def test_geopandas_reads_equal_geometries(source: CellSource, outlines: list[Any], tmp_path: Path) -> None:
    written(tmp_path, source)
    frame = geopandas.read_file(tmp_path / "cells.geojson")
    assert frame["name"].tolist() == ["1", "2", "3", "4"]
    assert list(frame.geometry.geom_type) == ["Polygon", "Polygon", "MultiPolygon", "Polygon"]
    assert all(a.equals(b) for a, b in zip(frame.geometry, outlines, strict=True))
    # GDAL takes all GeoJSON for degrees, but leaves the numbers as they stand.
    assert frame.total_bounds.tolist() == [1, 0, 72, 42]


def test_measurements_are_numbers_by_name_without_the_missing_ones(source: CellSource, tmp_path: Path) -> None:
    features = written(tmp_path, source)["features"]
    first, second = (each["properties"]["measurements"] for each in features[:2])
    assert first["mean_DAPI"] == 10
    assert first["eccentricity"] == 0.1
    assert first["touches_edge"] == 0
    assert first["area_px"] == 64
    assert "mean_CD45" in first
    assert "mean_CD45" not in second
    assert {each["properties"]["objectType"] for each in features} == {"cell"}


def test_rings_run_as_rfc_7946_wants(source: CellSource, tmp_path: Path) -> None:
    for feature in written(tmp_path, source)["features"]:
        for part in shapely.get_parts(shapely.from_geojson(json.dumps(feature["geometry"]))):
            assert part.exterior.is_ccw
            assert not any(hole.is_ccw for hole in part.interiors)
            assert part.exterior.coords[0] == part.exterior.coords[-1]


def test_ids_are_of_sample_and_cell_and_of_nothing_else(
    source: CellSource, make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path
) -> None:
    ids = [each["id"] for each in written(tmp_path, source)["features"]]
    assert len({uuid.UUID(each) for each in ids}) == 4
    apart = make("other", outlines, None)
    assert not set(ids) & {each["id"] for each in written(tmp_path, apart)["features"]}
    again = make("field", outlines[::-1], None, [4, 3, 2, 1])
    assert [each["id"] for each in written(tmp_path, again)["features"]] == ids[::-1]


@pytest.mark.parametrize("n_cells", [0, 1])
def test_no_cells_and_one_cell(make: Callable[..., CellSource], tmp_path: Path, n_cells: int) -> None:
    source = make("field", [shapely.box(0, 0, 2, 2)] * n_cells, pd.DataFrame({"mean_A": np.ones(n_cells)}))
    assert len(written(tmp_path, source)["features"]) == n_cells


def test_hostile_names_stay_names(make: Callable[..., CellSource], tmp_path: Path) -> None:
    name = 'mean_"},\u2028</script>\n\\'
    source = make("field", [shapely.box(0, 0, 2, 2)], pd.DataFrame({name: [1.5], "text": ["x"]}))
    (feature,) = written(tmp_path, source)["features"]
    assert feature["properties"]["measurements"][name] == 1.5
    assert "text" not in feature["properties"]["measurements"]


def test_outlines_of_other_programs_keep_their_fractions(make: Callable[..., CellSource], tmp_path: Path) -> None:
    outline = shapely.Polygon([(0.125, 0.5), (10.25, 0), (10.0625, 9.75)])
    (feature,) = written(tmp_path, make("field", [outline], None))["features"]
    assert shapely.from_geojson(json.dumps(feature["geometry"])).equals(outline)
