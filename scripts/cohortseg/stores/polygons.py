"""polygons.parquet: the cells of one image, appended in spatial order, read by box."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.geoparquet import BBOX_TYPE, COMPRESSION, Bounds, geo_metadata, to_arrow, total_bounds
from cohortseg.stores.geoparquet_file import GeoFile, WkbRows, missing_columns
from cohortseg.stores.wkb import Piece, WkbFile

ROW_GROUP_ROWS = 2048
"""Cells of a row group: so many that its costs are small beside theirs, so few that a shard reads few of others."""
# A row group of a wide image that goes on at the next row of windows would span the whole width.
_FAR_PX = 4096

POLYGON_SCHEMA = pa.schema(
    [
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("area_px", pa.int64(), nullable=False),
        pa.field("centroid_x", pa.float64(), nullable=False),
        pa.field("centroid_y", pa.float64(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("flow_error", pa.float32()),
        pa.field("touches_edge", pa.bool_(), nullable=False),
        pa.field("bbox", BBOX_TYPE),
    ]
)
"""Columns of polygons.parquet; `bbox` is the covering column of GeoParquet 1.1."""


class PolygonWriter:
    """Writes polygons.parquet; a context manager. The file appears under its name when the block ends well.

    Parameters
    ----------
    path
        Final path of the file.
    shape
        (y, x) of the image; kept in the file's metadata under `cohortseg`.
    """

    def __init__(self, path: Path, *, shape: tuple[int, int]) -> None:
        self._atomic = atomic_path(path)
        self._shape = shape
        self._bounds: Bounds | None = None
        self._geometry_types: set[str] = set()
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def __enter__(self) -> Self:
        self._temporary = self._atomic.__enter__()
        try:
            # with the arrow schema stored, readers take the metadata from there, where ours come too late
            self._writer = pq.ParquetWriter(
                self._temporary, POLYGON_SCHEMA, compression=COMPRESSION, use_dictionary=False, store_schema=False
            )
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def append(self, table: geopandas.GeoDataFrame) -> None:
        """Append cells; where row groups end depends on the cells alone, not on the tables that they come in.

        A row group has `ROW_GROUP_ROWS` cells, or fewer where the next cell lies far left of them all. `table` has
        the columns of `POLYGON_SCHEMA` except `bbox`, in any order; its index is ignored.

        Raises
        ------
        TableError
            A column is missing or is of another type.
        """
        if len(table) == 0:
            return
        missing = [name for name in POLYGON_SCHEMA.names if name != "bbox" and name not in table.columns]
        if missing:
            raise missing_columns("the table of cells", missing, list(table.columns))
        try:
            rows = to_arrow(table).select(POLYGON_SCHEMA.names).cast(POLYGON_SCHEMA)
        except (pa.ArrowInvalid, ValueError) as error:
            raise TableError(
                f"cells cannot be stored: {error}", f"expected {POLYGON_SCHEMA.to_string()}", "Convert the columns."
            ) from error
        self._geometry_types.update(table.geometry.geom_type.dropna().unique())
        self._extend_bounds(total_bounds(np.asarray(table.geometry.array)))
        self._waiting.append(rows)
        self._n_waiting += len(rows)
        if self._n_waiting >= ROW_GROUP_ROWS:
            self._write_groups(ROW_GROUP_ROWS)

    def _write_groups(self, least: int) -> None:
        """Write row groups while at least so many cells are waiting."""
        rows = pa.concat_tables([POLYGON_SCHEMA.empty_table(), *self._waiting]).combine_chunks()
        xmin, xmax = (pc.struct_field(rows["bbox"], name).to_numpy() for name in ("xmin", "xmax"))
        start = 0
        while len(rows) - start >= least:
            end = start + _group_rows(xmin[start : start + ROW_GROUP_ROWS], xmax[start : start + ROW_GROUP_ROWS])
            self._writer.write_table(rows.slice(start, end - start), row_group_size=ROW_GROUP_ROWS)
            start = end
        self._waiting, self._n_waiting = [rows.slice(start)], len(rows) - start

    def _extend_bounds(self, new: Bounds | None) -> None:
        old = self._bounds
        if old is None or new is None:
            self._bounds = new or old
        else:
            self._bounds = min(old[0], new[0]), min(old[1], new[1]), max(old[2], new[2]), max(old[3], new[3])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write_groups(1)
                self._writer.add_key_value_metadata(geo_metadata(self._bounds, self._geometry_types))
                self._writer.add_key_value_metadata({"cohortseg": json.dumps({"shape": list(self._shape)})})
            self._writer.close()
        except BaseException as closing:
            self._atomic.__exit__(type(closing), closing, closing.__traceback__)
            raise
        self._atomic.__exit__(kind, error, trace)


def _group_rows(xmin: NDArray[np.float64], xmax: NDArray[np.float64]) -> int:
    """Return how many cells from the first on make a row group: up to one that lies far left of all before it."""
    # Cells without pixels have no bounds: fmin passes over these, and a comparison with them is false.
    leftmost = np.fmin.accumulate(xmin)[:-1]
    far = np.flatnonzero(xmax[1:] < leftmost - _FAR_PX)
    return int(far[0]) + 1 if far.size else xmin.size


def read_polygons(path: Path, *, columns: Sequence[str] | None, box: Box | None) -> geopandas.GeoDataFrame:
    """Read cells from a GeoParquet file, ours or another's.

    Parameters
    ----------
    path
        The file.
    columns
        Columns to read, in this order; `geometry` always comes along. None reads all but the covering column. A
        `cell_id` that the file lacks is the number of the row, from 1.
    box
        Only cells whose bounds overlap the box (touching it from outside is not enough), in full-resolution pixels.
        Row groups that cannot hold one are not read where the file has a covering column.

    Returns
    -------
    GeoDataFrame with a fresh index, rows in the order of the file, without a reference system.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is damaged, no GeoParquet file, or lacks a column.
    """
    with GeoFile(path) as stored:
        return stored.read(columns, box)


def read_polygon_groups(path: Path) -> Iterator[geopandas.GeoDataFrame]:
    """Read all columns of the cells of a GeoParquet file, row group by row group. Errors as for `read_polygons`."""
    with GeoFile(path) as stored:
        for group in range(stored.n_groups):
            yield stored.read_group(group)


class BoxReader:
    """Reads ids and geometries by box, as they are stored, from several threads.

    The footer is read with the first box and kept, which with thousands of row groups takes longer than a box; the
    file is not kept open. Errors as for `read_polygons`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, box: Box) -> Iterator[WkbRows]:
        """Yield the rows of all row groups that may meet a box, in the order of the file.

        Others of the same group come along. A `cell_id` that the file lacks is the number of the row, from 1.
        """
        file, pieces, bounds = self._footer
        xmin, ymin, xmax, ymax = bounds.T
        met = (xmin < box.x1) & (xmax > box.x0) & (ymin < box.y1) & (ymax > box.y0)
        for i in np.flatnonzero(met):
            yield from file.read_piece(pieces[i])

    @cached_property
    def _footer(self) -> tuple[WkbFile, list[Piece], NDArray[np.float64]]:
        """Return the closed file, its row groups, and the bounds of each: (n, 4) xmin, ymin, xmax, ymax."""
        with WkbFile(self._path) as file:
            pieces, group_bounds = file.pieces(0), file.group_bounds()
        endless = (-np.inf, -np.inf, np.inf, np.inf)
        return file, pieces, np.array([each or endless for each in group_bounds], np.float64).reshape(-1, 4)


def polygon_bounds(path: Path) -> Bounds | None:
    """Return (xmin, ymin, xmax, ymax) of all cells of a GeoParquet file; None where there are none.

    Only the footer is read where the file states its bounds. Errors as for `read_polygons`.
    """
    with GeoFile(path) as stored:
        return stored.bounds()
