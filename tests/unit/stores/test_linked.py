"""3d_polygons.parquet: what is copied from the planes' files, and what is new."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from cohortseg.errors import MissingFileError, TableError
from cohortseg.shapes import polygonise
from cohortseg.stores import linked, polygons
from cohortseg.stores.geoparquet import geo_metadata, to_arrow
from cohortseg.stores.linked import LinkedPlane, write_linked_polygons
from cohortseg.stores.polygons import PolygonWriter

SHAPE = (60, 80)


@pytest.fixture(autouse=True)
def _several_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 7)


def cells(seed: int) -> gpd.GeoDataFrame:
    """Return the cells of an image, one of them in two parts."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint32)
    for label in range(1, 41):
        y, x = rng.integers(0, (50, 70))
        labels[y : y + rng.integers(2, 12), x : x + rng.integers(2, 12)] = label
    table = polygonise(labels)
    n = len(table)
    return table.assign(
        area_px=table.area.astype(np.int64), centroid_x=0.0, centroid_y=0.0, score=np.ones(n, np.float32),
        flow_error=np.zeros(n, np.float32), touches_edge=False,
    )  # fmt: skip


def write_ours(path: Path, table: gpd.GeoDataFrame) -> Path:
    with PolygonWriter(path, shape=SHAPE) as writer:
        writer.append(table)
    return path


def write_foreign(path: Path, table: gpd.GeoDataFrame, covering: bool) -> Path:
    rows = to_arrow(table[["geometry", "cell_id"]])
    rows = rows if covering else rows.drop_columns(["bbox"])
    metadata = geo_metadata(None, {"Polygon", "MultiPolygon"})
    pq.write_table(rows.replace_schema_metadata(metadata), path, row_group_size=9, compression="snappy")
    return path


def plane(path: Path, table: gpd.GeoDataFrame, z_index: int, kept: slice = slice(None)) -> LinkedPlane:
    ids = np.sort(table["cell_id"].to_numpy())[kept]
    return LinkedPlane(z_index, path, ids, ids * 3 + z_index, np.where(ids % 2, np.nan, ids / 64))


def check(path: Path, planes: list[LinkedPlane], tables: list[gpd.GeoDataFrame]) -> None:
    """Check every column of the file against the planes' tables."""
    found = gpd.read_parquet(path)
    assert list(found.columns) == ["geometry", "z_index", "cell_id", "plane_cell_id", "iou"]
    for each, table in zip(planes, tables, strict=True):
        rows = found[found["z_index"] == each.z_index]
        expected = table[table["cell_id"].isin(each.plane_cell_ids)]
        places = np.searchsorted(each.plane_cell_ids, expected["cell_id"])
        assert rows["plane_cell_id"].tolist() == expected["cell_id"].tolist()
        assert rows["cell_id"].tolist() == each.cell_ids[places].tolist()
        np.testing.assert_array_equal(rows["iou"], each.iou[places])
        assert shapely.to_wkb(rows.geometry).tolist() == shapely.to_wkb(expected.geometry).tolist()
    assert len(found) == sum(len(each.plane_cell_ids) for each in planes)
    np.testing.assert_array_equal(found.total_bounds, stated_bounds(path))


def stated_bounds(path: Path) -> list[float]:
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    bounds: list[float] = geo["columns"]["geometry"]["bbox"]
    return bounds


@pytest.fixture
def tables() -> list[gpd.GeoDataFrame]:
    return [cells(0), cells(1)]


def test_our_files_are_copied(tmp_path: Path, tables: list[gpd.GeoDataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(linked, "_encoded_anew")
    planes = [plane(write_ours(tmp_path / f"{z}.parquet", table), table, z) for z, table in enumerate(tables)]
    write_linked_polygons(tmp_path / "3d.parquet", planes)
    check(tmp_path / "3d.parquet", planes, tables)


@pytest.mark.parametrize("kept", [slice(0, 5), slice(3, None, 2), slice(0, 0)])
def test_cells_that_are_not_linked_are_left_out(tmp_path: Path, tables: list[gpd.GeoDataFrame], kept: slice) -> None:
    planes = [
        plane(write_ours(tmp_path / "0.parquet", tables[0]), tables[0], -4, kept),
        plane(write_ours(tmp_path / "1.parquet", tables[1]), tables[1], 7),
    ]
    write_linked_polygons(tmp_path / "3d.parquet", planes)
    check(tmp_path / "3d.parquet", planes, tables)


@pytest.mark.parametrize("covering", [True, False])
def test_foreign_and_our_files_are_joined(tmp_path: Path, tables: list[gpd.GeoDataFrame], covering: bool) -> None:
    shuffled = tables[0].sample(frac=1, random_state=0)
    planes = [
        plane(write_foreign(tmp_path / "0.parquet", shuffled, covering), shuffled, 0),
        plane(write_ours(tmp_path / "1.parquet", tables[1]), tables[1], 1),
    ]
    write_linked_polygons(tmp_path / "3d.parquet", planes)
    check(tmp_path / "3d.parquet", planes, [shuffled, tables[1]])


def test_copied_and_anew_say_the_same(
    tmp_path: Path, tables: list[gpd.GeoDataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = [plane(write_ours(tmp_path / f"{z}.parquet", table), table, z) for z, table in enumerate(tables)]
    write_linked_polygons(tmp_path / "copied.parquet", planes)
    monkeypatch.setattr(linked._PlaneFile, "_is_ours", lambda _: False)
    write_linked_polygons(tmp_path / "anew.parquet", planes)
    copied, anew = (pq.ParquetFile(tmp_path / name) for name in ("copied.parquet", "anew.parquet"))
    assert copied.schema.equals(anew.schema)
    assert copied.metadata.num_row_groups == anew.metadata.num_row_groups
    for name in ("geometry", "z_index", "cell_id", "plane_cell_id", "bbox"):
        assert copied.read([name]).equals(anew.read([name]))


def test_a_box_is_found_by_the_covering_column(tmp_path: Path, tables: list[gpd.GeoDataFrame]) -> None:
    planes = [plane(write_ours(tmp_path / f"{z}.parquet", table), table, z) for z, table in enumerate(tables)]
    write_linked_polygons(tmp_path / "3d.parquet", planes)
    box = (10, 20, 30, 35)
    whole = gpd.read_parquet(tmp_path / "3d.parquet")
    found = gpd.read_parquet(tmp_path / "3d.parquet", bbox=box)
    bounds = whole.bounds
    meets = (bounds.minx <= 30) & (bounds.maxx >= 10) & (bounds.miny <= 35) & (bounds.maxy >= 20)
    assert found["cell_id"].tolist() == whole[meets]["cell_id"].tolist()
    by_plane = pq.read_table(tmp_path / "3d.parquet", filters=[("z_index", "=", 1)])
    assert by_plane["plane_cell_id"].to_pylist() == tables[1]["cell_id"].tolist()


def test_planes_without_cells_make_a_table_without_rows(tmp_path: Path) -> None:
    empty = cells(0).iloc[:0]
    write_linked_polygons(tmp_path / "3d.parquet", [plane(write_ours(tmp_path / "0.parquet", empty), empty, 0)])
    assert len(gpd.read_parquet(tmp_path / "3d.parquet")) == 0


def test_a_missing_geometry_becomes_an_empty_one(tmp_path: Path) -> None:
    table = gpd.GeoDataFrame({"cell_id": [1, 2]}, geometry=[shapely.box(0, 0, 2, 2), None])
    ids = np.array([1, 2])
    path = write_foreign(tmp_path / "0.parquet", table, covering=True)
    write_linked_polygons(tmp_path / "3d.parquet", [LinkedPlane(0, path, ids, ids, np.zeros(2))])
    assert gpd.read_parquet(tmp_path / "3d.parquet").geometry.is_empty.tolist() == [False, True]


def test_the_file_is_the_same_bytes_each_time(
    tmp_path: Path, tables: list[gpd.GeoDataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = [plane(write_ours(tmp_path / f"{z}.parquet", table), table, z) for z, table in enumerate(tables)]
    contents = set()
    for threads in (1, 2, 8):
        monkeypatch.setattr(linked, "_THREADS", threads)
        monkeypatch.setattr(linked, "_GROUPS_PER_TASK", 2)
        write_linked_polygons(tmp_path / "3d.parquet", planes)
        contents.add((tmp_path / "3d.parquet").read_bytes())
    assert len(contents) == 1


def test_a_cell_that_the_file_lacks_is_an_error(tmp_path: Path, tables: list[gpd.GeoDataFrame]) -> None:
    whole = plane(write_ours(tmp_path / "0.parquet", tables[0].iloc[:-1]), tables[0], 0)
    with pytest.raises(TableError, match=f"has {len(tables[0]) - 1} of {len(tables[0])} linked cells"):
        write_linked_polygons(tmp_path / "3d.parquet", [whole])
    assert not (tmp_path / "3d.parquet").exists()


def test_a_plane_without_a_file_is_an_error(tmp_path: Path, tables: list[gpd.GeoDataFrame]) -> None:
    with pytest.raises(MissingFileError, match=r"0\.parquet does not exist"):
        write_linked_polygons(tmp_path / "3d.parquet", [plane(tmp_path / "0.parquet", tables[0], 0)])
