"""Outlines and measurements come together by cell_id, whatever their order, some at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from cohortseg.errors import TableError
from cohortseg.exports import CellSource, cells
from cohortseg.stores import polygons


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_each_cell_has_its_own_measurements(
    make: Callable[..., CellSource], monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(cells, "_BATCH_ROWS", 5)
    ids = {
        "ascending": list(range(1, 51)),
        "descending": list(range(50, 0, -1)),
        "shuffled": np.random.default_rng(3).permutation(np.arange(1, 51)).tolist(),
    }[order]
    outlines = [shapely.box(i, 0, i + 1, 1) for i in range(50)]
    table = pd.DataFrame({"mean_A": [number * 10.0 for number in ids]})
    batches = list(make("field", outlines, table, ids).batches())
    assert len(batches) > 5
    assert [number for batch in batches for number in batch.cell_ids.tolist()] == ids
    for batch in batches:
        assert batch.table["mean_A"].tolist() == (batch.cell_ids * 10.0).tolist()
        assert batch.table["centroid_x"].tolist() == [shape.centroid.x for shape in batch.geometries]


def test_measurements_in_order_are_held_a_few_at_a_time(
    make: Callable[..., CellSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(cells, "_BATCH_ROWS", 5)
    held: list[int] = []
    reads = cells._Measurements.of

    def spied(self: Any, group: int, ids: Any) -> pd.DataFrame:
        found = reads(self, group, ids)
        held.append(len(self._held))
        return found

    monkeypatch.setattr(cells._Measurements, "of", spied)
    source = make(
        "field", [shapely.box(i, 0, i + 1, 1) for i in range(200)], pd.DataFrame({"mean_A": np.arange(200.0)})
    )
    list(source.batches())
    assert max(held) <= 7 + 2 * 5


def test_columns_are_those_of_the_measurements_and_what_only_outlines_have(source: CellSource) -> None:
    columns = source.columns()
    assert list(columns) == [
        "area_px", "centroid_x", "centroid_y", "score", "touches_edge", "eccentricity", "mean_DAPI", "median_DAPI",
        "mean_CD45", "flow_error",
    ]  # fmt: skip
    assert columns["area_px"] == np.int64
    assert columns["touches_edge"].kind == "b"
    (batch,) = source.batches()
    assert list(batch.table.columns) == list(columns)
    assert [batch.table[name].dtype for name in columns] == list(columns.values())
    assert batch.table["flow_error"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])


def test_whole_numbers_with_missing_ones_stay_whole(make: Callable[..., CellSource], outlines: list[Any]) -> None:
    table = pd.DataFrame({"nucleus_id": pd.array([7, None, 9, 10], dtype="Int64"), "kind": ["a", None, "b", "c"]})
    source = make("field", outlines, table)
    assert source.columns()["nucleus_id"] == pd.Int64Dtype()
    assert source.columns()["kind"].kind == "O"
    (batch,) = source.batches()
    assert batch.table["nucleus_id"].tolist() == [7, pd.NA, 9, 10]


def test_outlines_alone_are_enough(make: Callable[..., CellSource], outlines: list[Any]) -> None:
    source = make("field", outlines, None)
    (batch,) = source.batches()
    assert batch.table["area_px"].tolist() == [64, 91, 34, 144]
    assert source.n_cells() == 4


def test_tables_of_two_segmentations_are_refused(source: CellSource) -> None:
    assert source.cells is not None
    table = pd.read_parquet(source.cells)
    table.iloc[:3].to_parquet(source.cells)
    with pytest.raises(TableError, match=r"cells\.parquet has 3 rows, polygons\.parquet has 4 cells"):
        list(source.batches())
    table.assign(cell_id=[1, 2, 3, 5]).to_parquet(source.cells)
    with pytest.raises(TableError, match=r"cells\.parquet does not have one row for cell 4 of the outlines"):
        list(source.batches())
    table.assign(cell_id=[1, 2, 2, 4]).to_parquet(source.cells)
    with pytest.raises(TableError, match="does not have one row for cell 2"):
        list(source.batches())


@pytest.mark.parametrize("bad", [shapely.Polygon(), None, shapely.Point(1, 2)])
def test_rows_of_other_programs_without_an_outline_are_refused(tmp_path: Path, bad: Any) -> None:
    frame = geopandas.GeoDataFrame({"class": ["a", "b"]}, geometry=[shapely.box(0, 0, 2, 2), bad])
    frame.to_parquet(tmp_path / "polygons.parquet")
    source = CellSource("field", tmp_path / "polygons.parquet", None, {})
    with pytest.raises(TableError, match=r"cell 2 of polygons\.parquet has no outline"):
        list(source.batches())


def test_outlines_of_other_programs_are_numbered_by_their_rows(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"class": ["a", "b"]}, geometry=[shapely.box(i, 0, i + 2, 2) for i in (0, 5)])
    frame.to_parquet(tmp_path / "polygons.parquet")
    source = CellSource("field", tmp_path / "polygons.parquet", None, {})
    (batch,) = source.batches()
    assert batch.cell_ids.tolist() == [1, 2]
    assert batch.table["class"].tolist() == ["a", "b"]
    assert source.pixel_size_um is None
