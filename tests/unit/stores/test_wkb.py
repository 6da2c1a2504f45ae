"""Geometries of files as they are stored."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from cohortseg.errors import TableError
from cohortseg.stores.geoparquet import geo_metadata, to_arrow
from cohortseg.stores.wkb import Piece, WkbFile

BOXES = shapely.box(0, np.arange(10), 3, np.arange(10) + 2)


def write(path: Path, table: pa.Table, group_rows: int) -> Path:
    pq.write_table(table.replace_schema_metadata(geo_metadata(None, {"Polygon"})), path, row_group_size=group_rows)
    return path


@pytest.fixture
def table() -> pa.Table:
    return to_arrow(gpd.GeoDataFrame({"cell_id": np.arange(10) + 40}, geometry=BOXES))


def geometries(file: WkbFile, piece: Piece) -> list[tuple[int, int, bytes]]:
    """Return row, id and WKB of each cell of a piece."""
    found = []
    for rows in file.read_piece(piece):
        for i, cell_id in enumerate(rows.cell_ids):
            start, end = rows.offsets[i : i + 2]
            found.append((rows.first_row + i, int(cell_id), rows.data[start:end].tobytes()))
    return found


@pytest.mark.parametrize("group_rows", [1, 3, 4, 10])
@pytest.mark.parametrize("piece_rows", [1, 4, 100])
def test_the_pieces_hold_all_rows_once_and_in_order(tmp_path: Path, table: pa.Table, group_rows, piece_rows) -> None:
    with WkbFile(write(tmp_path / "p.parquet", table, group_rows)) as file:
        pieces = file.pieces(piece_rows)
        found = [row for piece in pieces for row in geometries(file, piece)]
    assert found == [(i, 40 + i, shapely.to_wkb(box)) for i, box in enumerate(BOXES)]


def test_a_piece_states_the_span_of_its_cells(tmp_path: Path, table: pa.Table) -> None:
    path = write(tmp_path / "p.parquet", table, 3)
    with WkbFile(path) as file:
        assert file.pieces(4) == [Piece(range(0, 2), 0, (0, 7)), Piece(range(2, 4), 6, (6, 11))]
    with WkbFile(write(path, table.drop_columns(["bbox"]), 3)) as file:
        assert [piece.y_range for piece in file.pieces(4)] == [None, None]


def test_rows_of_a_file_without_ids_are_numbered(tmp_path: Path, table: pa.Table) -> None:
    with WkbFile(write(tmp_path / "p.parquet", table.drop_columns(["cell_id"]), 3)) as file:
        ids = [cell_id for piece in file.pieces(4) for _, cell_id, _ in geometries(file, piece)]
    assert ids == list(range(1, 11))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_missing_geometries_have_no_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    wkb = shapely.to_wkb(BOXES[0])
    table = pa.table({"cell_id": [5, 6, 7], "geometry": pa.array([wkb, None, wkb], kind)})
    with WkbFile(write(tmp_path / "p.parquet", table, 3)) as file:
        assert geometries(file, file.pieces(1)[0]) == [(0, 5, wkb), (1, 6, b""), (2, 7, wkb)]


def test_a_file_without_rows_has_no_pieces(tmp_path: Path, table: pa.Table) -> None:
    with WkbFile(write(tmp_path / "p.parquet", table.slice(0, 0), 3)) as file:
        assert [row for piece in file.pieces(4) for row in geometries(file, piece)] == []


def test_geometries_that_are_not_binary_are_refused(tmp_path: Path) -> None:
    table = pa.table({"cell_id": [1], "geometry": ["POLYGON EMPTY"]})
    with WkbFile(write(tmp_path / "p.parquet", table, 3)) as file, pytest.raises(TableError, match="as string"):
        geometries(file, file.pieces(1)[0])


def test_missing_ids_are_refused(tmp_path: Path) -> None:
    table = pa.table({"cell_id": pa.array([1, None]), "geometry": [shapely.to_wkb(BOXES[0])] * 2})
    with WkbFile(write(tmp_path / "p.parquet", table, 3)) as file, pytest.raises(TableError, match="without a cell_id"):
        geometries(file, file.pieces(1)[0])


def test_a_damaged_page_is_a_fault_of_the_file(tmp_path: Path, table: pa.Table) -> None:
    path = write(tmp_path / "p.parquet", table, 10)
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with WkbFile(path) as file, pytest.raises(TableError, match=r"p\.parquet cannot be read"):
        geometries(file, file.pieces(1)[0])
