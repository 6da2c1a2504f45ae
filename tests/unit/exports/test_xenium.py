"""xenium.geojson: what Xenium Ranger's documentation asks of imported outlines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from shapely import affinity

from cohortseg.errors import TableError
from cohortseg.exports import CellSource, write_xenium


def test_outlines_are_polygons_of_one_ring_in_micrometres(
    source: CellSource, outlines: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_xenium(tmp_path / "xenium.geojson", source)
    frame = geopandas.read_file(tmp_path / "xenium.geojson")
    assert set(frame.geometry.geom_type) == {"Polygon"}
    assert set(frame["objectType"]) == {"cell"}, "others are passed over"
    assert frame["name"].tolist() == ["1", "2", "3", "4"]
    square, with_hole, in_two, large = outlines
    kept = [square, shapely.Polygon(with_hole.exterior), max(in_two.geoms, key=lambda part: part.area), large]
    for found, outline in zip(frame.geometry, kept, strict=True):
        assert len(found.interiors) == 0
        assert found.equals(affinity.scale(outline, 0.5, 0.5, origin=(0, 0)))
    assert "2 cells have holes or several pieces" in caplog.text


def test_it_is_a_feature_collection_of_features(source: CellSource, tmp_path: Path) -> None:
    write_xenium(tmp_path / "xenium.geojson", source)
    found = json.loads((tmp_path / "xenium.geojson").read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    assert {each["type"] for each in found["features"]} == {"Feature"}
    assert len({each["id"] for each in found["features"]}) == 4


def test_without_a_pixel_size_it_cannot_be(
    make: Callable[..., CellSource], outlines: list[Any], tmp_path: Path
) -> None:
    source = make("field", outlines, None, pixel_size_um=None)
    with pytest.raises(TableError, match=r"pixel size of field is not known.*Set pixel_size_um"):
        write_xenium(tmp_path / "xenium.geojson", source)
    assert not (tmp_path / "xenium.geojson").exists()


def test_no_cells_are_an_empty_collection(make: Callable[..., CellSource], tmp_path: Path) -> None:
    write_xenium(tmp_path / "xenium.geojson", make("field", [], None))
    assert json.loads((tmp_path / "xenium.geojson").read_text(encoding="utf-8"))["features"] == []
