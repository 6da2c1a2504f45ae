"""Reading GeoParquet files by column and box."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.geoparquet import BBOX_FIELDS, Bounds, from_arrow, total_bounds

DEFAULT_GEOMETRY = "geometry"


def missing_columns(name: str, missing: Sequence[str], present: Sequence[str]) -> TableError:
    """Return the error of a table that lacks columns."""
    return TableError(
        f"{name} lacks the column {', '.join(missing)}",
        f"it has: {', '.join(present) or 'none'}",
        "Make the table again with this version of cohortseg.",
    )


def open_parquet(path: Path, buffer_bytes: int = 0) -> pq.ParquetFile:
    """Open a parquet file; MissingFileError where it is absent, TableError where its footer is damaged.

    Columns of a row group are read whole, or, for a large row group, through buffers of so many bytes each.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist", "expected a parquet file", "Run the step that makes it.")
    with reading(path):
        # Reading ahead is for far stores; here it takes more time than thousands of row groups.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=buffer_bytes)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on damaged bytes into a TableError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TableError:
    return TableError(
        f"{path.name} cannot be read: {error}", "expected a complete parquet file", "Delete it and run its step again."
    )


class WkbRows(NamedTuple):
    """Rows of a table of geometries, as they are stored."""

    first_row: int
    """Where in the file they begin."""
    cell_ids: NDArray[np.generic]
    """(n,) ids."""
    data: NDArray[np.uint8]
    """(bytes,) the geometries in WKB, one after the other."""
    offsets: NDArray[np.int64]
    """(n + 1,) where each geometry begins in `data`, and where the last ends; missing ones have no bytes."""


class GeoFile:
    """An open GeoParquet file; a context manager.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is damaged or has no geometry column in WKB.
    """

    def __init__(self, path: Path) -> None:
        path = Path(path)
        self._path = path
        self._file = open_parquet(path)
        try:
            with reading(path):
                self._names: list[str] = self._file.schema_arrow.names
                self._geometry, self._column = self._geometry_column()
                self._bbox = self._covering_column()
        except BaseException:
            self._file.close()
            raise

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    @property
    def n_groups(self) -> int:
        """Number of row groups."""
        return int(self._file.num_row_groups)

    def read_group(self, group: int) -> geopandas.GeoDataFrame:
        """Read all columns but the covering one of a row group."""
        return self._read(self._wanted(None), [group], None)

    def read(self, columns: Sequence[str] | None, box: Box | None) -> geopandas.GeoDataFrame:
        """Read columns of the rows whose bounds overlap a box; see `polygons.read_polygons`."""
        groups = range(self.n_groups) if box is None else self._groups_in(box)
        return self._read(self._wanted(columns), groups, box)

    def _read(self, names: Sequence[str], groups: Sequence[int], box: Box | None) -> geopandas.GeoDataFrame:
        wanted = [self._stored_name(name) for name in names]
        numbered = "cell_id" in wanted and "cell_id" not in self._names
        stored = [name for name in wanted if not (numbered and name == "cell_id")]
        missing = [name for name in stored if name not in self._names]
        if missing:
            raise missing_columns(self._path.name, missing, self._names)
        covering = [self._bbox] if box is not None and self._bbox is not None else []
        with reading(self._path):
            table = self._file.read_row_groups(list(groups), columns=[*stored, *covering])
        if numbered:
            table = table.append_column("cell_id", self._row_numbers(groups))
        if covering and box is not None:
            table = table.filter(_overlaps(table[self._bbox], box))
        frame = from_arrow(table.select(wanted), self._geometry)
        if box is None or covering:
            return frame
        xmin, ymin, xmax, ymax = shapely.bounds(np.asarray(frame.geometry.array)).T
        inside = (xmin < box.x1) & (xmax > box.x0) & (ymin < box.y1) & (ymax > box.y0)
        return frame[inside].reset_index(drop=True)

    def bounds(self) -> Bounds | None:
        """Return the bounds of all geometries: as the file states them, else as they are."""
        if self.n_rows == 0:
            return None
        stated = self._column.get("bbox")
        if isinstance(stated, list) and len(stated) == 4:
            xmin, ymin, xmax, ymax = map(float, stated)
            return xmin, ymin, xmax, ymax
        return total_bounds(np.asarray(self.read([], None).geometry.array))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _wanted(self, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            stored = [name for name in self._names if name != self._bbox]
            return stored if "cell_id" in stored else ["cell_id", *stored]
        return list(columns) if DEFAULT_GEOMETRY in columns else [*columns, DEFAULT_GEOMETRY]

    def _stored_name(self, name: str) -> str:
        return self._geometry if name == DEFAULT_GEOMETRY else name

    def _geometry_column(self) -> tuple[str, Mapping[str, Any]]:
        raw = (self._file.schema_arrow.metadata or {}).get(b"geo")
        try:
            geo = json.loads(raw) if raw else {}
            name = str(geo.get("primary_column", DEFAULT_GEOMETRY))
            column = geo.get("columns", {}).get(name, {})
            encoding = column.get("encoding", "WKB")
        except (ValueError, AttributeError) as error:
            raise _damaged(self._path, error) from error
        if name not in self._names:
            raise missing_columns(self._path.name, [name], self._names)
        if encoding != "WKB":
            raise TableError(
                f"{self._path.name} stores its geometries as {encoding}", "expected WKB", "Write it again as WKB."
            )
        return name, column

    def _covering_column(self) -> str | None:
        """Return the covering column, where it is a struct of the four fields that GeoParquet 1.1 names."""
        covering = self._column.get("covering")
        places = covering.get("bbox") if isinstance(covering, Mapping) else None
        for name in self._names:
            if places == {field: [name, field] for field in BBOX_FIELDS}:
                return name
        return None

    def _groups_in(self, box: Box) -> list[int]:
        """Return the row groups that may hold a geometry overlapping the box."""
        return [
            group
            for group, bounds in enumerate(self.group_bounds())
            if bounds is None
            or (bounds[0] < box.x1 and bounds[2] > box.x0 and bounds[1] < box.y1 and bounds[3] > box.y0)
        ]

    def group_bounds(self) -> list[Bounds | None]:
        """Return the bounds of each row group's geometries, as the covering column states them; None where it does not.

        Raises
        ------
        TableError
            The covering column is damaged.
        """
        footer = self._file.metadata
        if self._bbox is None or footer.num_row_groups == 0:
            return [None] * footer.num_row_groups
        places = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
        try:
            leaves = [places[f"{self._bbox}.{field}"] for field in BBOX_FIELDS]
        except KeyError as error:
            raise _damaged(self._path, error) from error
        types = [footer.schema.column(leaf).physical_type for leaf in leaves]
        bounds: list[Bounds | None] = []
        for group in range(footer.num_row_groups):
            row_group = footer.row_group(group)
            chunks = [row_group.column(leaf) for leaf in leaves]
            if [chunk.physical_type for chunk in chunks] != types:
                # pyarrow would end the process when asked for their statistics
                raise _damaged(self._path, ValueError("the types of its columns disagree"))
            xmin, ymin, xmax, ymax = (chunk.statistics for chunk in chunks)
            known = all(each is not None and each.has_min_max for each in (xmin, ymin, xmax, ymax))
            bounds.append((xmin.min, ymin.min, xmax.max, ymax.max) if known else None)
        return bounds

    def _row_numbers(self, groups: Sequence[int]) -> pa.Array:
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        numbers = [np.arange(starts[group], starts[group + 1]) + 1 for group in groups]
        return pa.array(np.concatenate(numbers) if numbers else np.empty(0, np.int64))


def _overlaps(bbox: pa.ChunkedArray, box: Box) -> pa.ChunkedArray:
    xmin, ymin, xmax, ymax = (pc.struct_field(bbox, field) for field in BBOX_FIELDS)
    across = pc.and_(pc.less(xmin, float(box.x1)), pc.greater(xmax, float(box.x0)))
    return pc.and_(across, pc.and_(pc.less(ymin, float(box.y1)), pc.greater(ymax, float(box.y0))))
