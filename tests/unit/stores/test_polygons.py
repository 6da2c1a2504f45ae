import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores import polygons
from cohortseg.stores.polygons import BoxReader, PolygonWriter, polygon_bounds, read_polygons


def cells(geometries: list[Any], first_id: int = 1) -> geopandas.GeoDataFrame:
    n = len(geometries)
    centroids = shapely.centroid(geometries)
    return geopandas.GeoDataFrame(
        {
            "touches_edge": np.zeros(n, bool),
            "score": np.linspace(0, 1, n),
            "cell_id": np.arange(first_id, first_id + n),
            "area_px": shapely.area(geometries).astype(np.int64),
            "centroid_x": shapely.get_x(centroids),
            "centroid_y": shapely.get_y(centroids),
            "flow_error": np.full(n, 0.1, np.float32),
        },
        geometry=geometries,
        index=np.arange(n) + 100,
    )


def grid(n: int, side: int = 10) -> list[Any]:
    return [shapely.box(x * side, y * side, x * side + 8, y * side + 8) for y in range(n) for x in range(n)]


def write(path: Path, *batches: geopandas.GeoDataFrame) -> Path:
    with PolygonWriter(path, shape=(100, 100)) as writer:
        for batch in batches:
            writer.append(batch)
    return path


COLUMNS = ["cell_id", "geometry", "area_px", "centroid_x", "centroid_y", "score", "flow_error", "touches_edge"]
DTYPES = ["int64", "geometry", "int64", "float64", "float64", "float32", "float32", "bool"]


def test_cells_come_back_with_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    multi = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)])
    path = write(tmp_path / "polygons.parquet", cells(grid(3)), cells([multi], 10))
    read = read_polygons(path, columns=None, box=None)
    assert list(read.columns) == COLUMNS
    assert [str(dtype) for dtype in read.dtypes] == DTYPES
    assert read.crs is None
    assert read["cell_id"].tolist() == list(range(1, 11))
    assert shapely.equals_exact(read.geometry.array[:9], np.array(grid(3))).all()
    assert read.geometry.iloc[9] == multi


def test_geopandas_opens_the_file_and_its_metadata_are_geoparquet_1_1(tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", cells(grid(3)))
    read = geopandas.read_parquet(path)
    assert list(read.columns) == COLUMNS
    assert len(geopandas.read_parquet(path, bbox=(0, 0, 9, 9))) == 1
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["Polygon"],
                "crs": None,
                "edges": "planar",
                "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
                "bbox": [0.0, 0.0, 28.0, 28.0],
            }
        },
    }
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def group_rows(path: Path) -> list[int]:
    footer = pq.ParquetFile(path).metadata
    return [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]


def test_where_row_groups_end_depends_on_the_cells_and_not_on_their_tables(tmp_path: Path) -> None:
    table = cells([shapely.box(x % 80, 0, x % 80 + 1, 1) for x in range(5000)])
    whole = write(tmp_path / "whole.parquet", table)
    for size in (1500, 700, 2048):
        parts = [table[start : start + size] for start in range(0, len(table), size)]
        assert write(tmp_path / "parts.parquet", *parts).read_bytes() == whole.read_bytes()
    assert group_rows(whole) == [2048, 2048, 5000 - 4096]


def test_a_row_group_ends_before_a_cell_far_left_of_it(tmp_path: Path) -> None:
    lefts = [9000, 20_000, 8500, 5000, 0, 30_000, 100]
    table = cells([shapely.box(x, 0, x + 1, 1) for x in lefts])
    table.iloc[1, table.columns.get_loc("geometry")] = shapely.Polygon()
    assert group_rows(write(tmp_path / "polygons.parquet", table)) == [4, 3]


@pytest.mark.parametrize("batches", [[], [cells([])]])
def test_an_image_without_cells_is_a_valid_file(batches: list[geopandas.GeoDataFrame], tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", *batches)
    for box in (None, Box(0, 0, 10, 10)):
        read = read_polygons(path, columns=None, box=box)
        assert len(read) == 0
        assert [str(dtype) for dtype in read.dtypes] == DTYPES
    assert list(geopandas.read_parquet(path).columns) == COLUMNS
    assert polygon_bounds(path) is None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(y0=st.integers(-5, 60), x0=st.integers(-5, 60), height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_box_gives_the_cells_whose_bounds_overlap_it(
    y0: int, x0: int, height: int, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    geometries = grid(6)
    path = tmp_path_factory.getbasetemp() / "grid.parquet"
    if not path.exists():
        write(path, *(cells(geometries[i : i + 6], i + 1) for i in range(0, 36, 6)))
    box = Box(y0, x0, y0 + height, x0 + width)
    wanted = [
        i + 1
        for i, geometry in enumerate(geometries)
        if shapely.box(box.x0, box.y0, box.x1, box.y1).intersection(geometry).area > 0
    ]
    assert read_polygons(path, columns=["cell_id"], box=box)["cell_id"].tolist() == wanted


def test_a_box_reads_only_the_row_groups_it_may_touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 10)
    geometries = grid(10)
    path = write(tmp_path / "polygons.parquet", *(cells(geometries[i : i + 10], i + 1) for i in range(0, 100, 10)))
    read_groups: list[int] = []
    read = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, groups: list[int], **options: Any) -> Any:
        read_groups.extend(groups)
        return read(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    found = read_polygons(path, columns=["cell_id"], box=Box(31, 0, 45, 5))
    assert read_groups == [3, 4]
    assert found["cell_id"].tolist() == [31, 41]


def test_files_of_other_programs_are_read_with_rows_numbered(tmp_path: Path) -> None:
    other = geopandas.GeoDataFrame({"type": ["a", "b", "c", "d"]}, geometry=grid(2)).rename_geometry("shape")
    other.to_parquet(tmp_path / "plain.parquet", row_group_size=2)
    other.to_parquet(tmp_path / "covered.parquet", row_group_size=2, write_covering_bbox=True)
    for name in ("plain", "covered"):
        path = tmp_path / f"{name}.parquet"
        read = read_polygons(path, columns=["cell_id", "geometry", "type"], box=Box(11, 0, 20, 30))
        assert read["cell_id"].tolist() == [3, 4]
        assert read["type"].tolist() == ["c", "d"]
        assert read.geometry.name == "geometry"
        assert read_polygons(path, columns=None, box=None)["cell_id"].tolist() == [1, 2, 3, 4]
        assert polygon_bounds(path) == (0, 0, 18, 18)


def test_bounds_are_found_in_files_that_do_not_state_them(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", cells(grid(2))))
    pq.write_table(table.select(["geometry"]).replace_schema_metadata({}), tmp_path / "b.parquet")
    assert polygon_bounds(tmp_path / "b.parquet") == (0, 0, 18, 18)


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", cells(grid(2)))
    read = read_polygons(path, columns=["score", "geometry", "cell_id"], box=Box(0, 0, 5, 5))
    assert list(read.columns) == ["score", "geometry", "cell_id"]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", cells(grid(2)))
    with pytest.raises(TableError, match=r"polygons\.parquet lacks the column colour; it has: cell_id, geometry"):
        read_polygons(path, columns=["colour"], box=None)
    pq.write_table(pq.read_table(path).select(["cell_id"]).replace_schema_metadata({}), tmp_path / "no.parquet")
    with pytest.raises(TableError, match=r"no\.parquet lacks the column geometry"):
        read_polygons(tmp_path / "no.parquet", columns=None, box=None)


@pytest.mark.parametrize("kept", [0, 3, 0.3, 0.99])
def test_a_damaged_file_is_named(kept: float, tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", cells(grid(5)))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    for read in (lambda p: read_polygons(p, columns=None, box=None), polygon_bounds):
        with pytest.raises(TableError, match=r"polygons\.parquet cannot be read"):
            read(path)


def test_damaged_pages_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "polygons.parquet", cells(grid(30)))
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\x5a" * column.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"polygons\.parquet"):
        read_polygons(path, columns=None, box=None)


def test_a_missing_file_is_a_missing_file_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"polygons\.parquet does not exist"):
        read_polygons(tmp_path / "polygons.parquet", columns=None, box=None)


def test_an_error_while_writing_leaves_no_file(tmp_path: Path) -> None:
    def segment_until_the_network_fails() -> None:
        with PolygonWriter(tmp_path / "polygons.parquet", shape=(10, 10)) as writer:
            writer.append(cells(grid(2)))
            raise ValueError("network")

    with pytest.raises(ValueError, match="network"):
        segment_until_the_network_fails()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda table: table.drop(columns="score"), "lacks the column score"),
        (lambda table: table.assign(area_px="many"), "cells cannot be stored"),
        (lambda table: table.assign(area_px=1.5), "cells cannot be stored"),
    ],
)
def test_cells_that_do_not_fit_the_contract_are_refused(change: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=fault):
        write(tmp_path / "polygons.parquet", change(cells(grid(2))))
    assert list(tmp_path.iterdir()) == []


def test_scores_may_be_missing(tmp_path: Path) -> None:
    table = cells(grid(2)).assign(score=pd.array([0.5, None, 1, 0], "Float32"))
    read = read_polygons(write(tmp_path / "a.parquet", table), columns=["score"], box=None)
    assert np.isnan(read["score"]).tolist() == [False, True, False, False]


def test_a_box_reader_gives_whole_row_groups_that_meet_a_box_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 4)
    near, far = cells(grid(2)), cells([shapely.box(60, 60, 70, 70), *[shapely.box(62, 62, 64, 64)] * 3], 5)
    reader = BoxReader(write(tmp_path / "polygons.parquet", near, far, cells(grid(2), 9)))
    (first, last) = reader.read(Box(0, 0, 20, 20))
    assert (first.first_row, last.first_row) == (0, 8)
    assert first.cell_ids.tolist() == list(range(1, 5))
    assert last.cell_ids.tolist() == list(range(9, 13))
    (rows,) = reader.read(Box(65, 65, 66, 66))
    blobs = [bytes(rows.data[start:end]) for start, end in itertools.pairwise(rows.offsets)]
    assert blobs == shapely.to_wkb(far.geometry).tolist()
    assert not list(reader.read(Box(40, 40, 50, 50)))


def test_a_box_reader_reads_all_of_a_file_without_bounds_and_numbers_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    geopandas.GeoDataFrame(geometry=[None, *grid(3)[1:]]).to_parquet(path, row_group_size=4)
    groups = list(BoxReader(path).read(Box(0, 0, 1, 1)))
    assert [rows.first_row for rows in groups] == [0, 4, 8]
    assert np.diff(groups[0].offsets).tolist() == [0, 93, 93, 93]
    assert np.concatenate([rows.cell_ids for rows in groups]).tolist() == list(range(1, 10))


def test_a_box_reader_serves_several_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "ROW_GROUP_ROWS", 1)
    reader = BoxReader(write(tmp_path / "polygons.parquet", *(cells([shape], i) for i, shape in enumerate(grid(9)))))
    boxes = [Box(y * 10, x * 10, y * 10 + 10, x * 10 + 10) for y in range(9) for x in range(9)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda box: [rows.cell_ids.tolist() for rows in reader.read(box)], boxes))
    assert found == [[[i]] for i in range(81)]


def test_what_a_box_reader_cannot_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    with pytest.raises(MissingFileError, match=r"polygons\.parquet does not exist"):
        list(BoxReader(path).read(Box(0, 0, 1, 1)))
    whole = write(path, cells(grid(9))).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match=r"polygons\.parquet cannot be read"):
        list(BoxReader(path).read(Box(0, 0, 1, 1)))
