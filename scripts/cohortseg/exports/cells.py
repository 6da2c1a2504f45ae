"""The cells of one sample, outlines and measurements together, a few thousand at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.stores.geoparquet_file import GeoFile, open_parquet, reading

_ID, _GEOMETRY = "cell_id", "geometry"
_BATCH_ROWS = 65_536
Kind = np.dtype[Any] | pd.Int64Dtype
"""The type of a column."""


class CellBatch(NamedTuple):
    """Some cells, in the order of polygons.parquet."""

    cell_ids: NDArray[np.int64]
    """(n,) ids."""
    geometries: NDArray[np.object_]
    """(n,) (Multi)Polygons, x right, y down, in full-resolution pixels."""
    table: pd.DataFrame
    """Their measurements, a row a cell, with the columns of `CellSource.columns`."""


@dataclass(frozen=True)
class CellSource:
    """Where the cells of a sample lie, and what is known of how they were made.

    Parameters
    ----------
    sample
        Its name.
    polygons
        polygons.parquet, with outlines and ids.
    cells
        cells.parquet, with measurements of the same ids; None where nothing was measured, as by `cohortseg infer`.
    metadata
        Content of metadata.json; empty where there is none.
    """

    sample: str
    polygons: Path
    cells: Path | None
    metadata: Mapping[str, Any]

    @property
    def pixel_size_um(self) -> float | None:
        """Side of a pixel in micrometres; None where not known."""
        found = self.metadata.get("pixel_size_um")
        return None if found is None else float(found)

    def n_cells(self) -> int:
        """Return how many cells there are."""
        with GeoFile(self.polygons) as stored:
            return stored.n_rows

    def columns(self) -> dict[str, Kind]:
        """Return the names and types of the measurements: those of cells.parquet, then those that only outlines have.

        Types are bool, int64, float64 or, for text, object; whole numbers of which some are missing are Int64, and
        booleans float64.
        """
        own = _schema(self.polygons)
        measured = {} if self.cells is None else _schema(self.cells)
        return measured | {name: kind for name, kind in own.items() if name not in measured}

    def batches(self) -> Iterator[CellBatch]:
        """Yield all cells, so many at a time as polygons.parquet has in a row group.

        Measurements are read along; of those in another order than the outlines, more are held at once.

        Raises
        ------
        TableError
            A file is damaged, or a cell has no measurements or several, or an outline that is empty or no polygon.
        """
        columns = self.columns()
        self._check_counts()
        with GeoFile(self.polygons) as stored:
            measured = None if self.cells is None else _Measurements(self.cells, self._smallest_to_come())
            for group in range(stored.n_groups):
                frame = stored.read_group(group)
                ids = frame[_ID].to_numpy().astype(np.int64)
                table = pd.DataFrame(frame.drop(columns=[_ID, _GEOMETRY]))
                if measured is not None:
                    rows = measured.of(group, ids)
                    table = rows.assign(**{name: table[name] for name in table.columns if name not in rows})
                yield CellBatch(ids, _polygons(self.polygons, ids, frame), _typed(table, columns))

    def _check_counts(self) -> None:
        if self.cells is None:
            return
        with open_parquet(self.cells) as stored:
            n_measured, n_cells = int(stored.metadata.num_rows), self.n_cells()
        if n_measured != n_cells:
            raise TableError(
                f"{self.cells} has {n_measured} rows, {self.polygons.name} has {n_cells} cells",
                "expected both files to be of one segmentation",
                "Run the rule quantify again.",
            )

    def _smallest_to_come(self) -> list[int]:
        """Return, for each row group of the outlines, the smallest id in it and in all after it."""
        with open_parquet(self.polygons) as stored, reading(self.polygons):
            numbered = _ID in stored.schema_arrow.names
            groups = range(stored.num_row_groups)
            if not numbered:
                sizes = [stored.metadata.row_group(group).num_rows for group in groups]
                return [1 + sum(sizes[:group]) for group in groups]
            ids = [stored.read_row_group(group, columns=[_ID])[_ID].to_numpy() for group in groups]
        lowest = [each.min(initial=np.iinfo(np.int64).max) for each in ids]
        return [int(low) for low in np.minimum.accumulate(lowest[::-1])[::-1]]


class _Measurements:
    """Reads cells.parquet along with the outlines, keeping what later outlines may still ask for."""

    def __init__(self, path: Path, smallest_to_come: list[int]) -> None:
        self._path = path
        self._smallest = smallest_to_come
        self._batches = _read_batches(path)
        self._held = next(self._batches)

    def of(self, group: int, ids: NDArray[np.int64]) -> pd.DataFrame:
        """Return the measurements of the cells of a row group, in their order."""
        wanted = pd.Index(ids)
        while not (known := wanted.isin(self._held.index)).all():
            batch = next(self._batches, None)
            if batch is None:
                raise self._unlike(wanted[~known][0])
            still_needed = self._held[self._held.index >= self._smallest[group]]
            self._held = pd.concat([still_needed, batch]) if len(still_needed) else batch
            if self._held.index.has_duplicates:
                raise self._unlike(self._held.index[self._held.index.duplicated()][0])
        return self._held.loc[wanted].reset_index(drop=True)

    def _unlike(self, cell_id: int) -> TableError:
        return TableError(
            f"{self._path.name} does not have one row for cell {cell_id} of the outlines",
            "expected both files to be of one segmentation",
            "Run the rule quantify again.",
        )


def _polygons(path: Path, ids: NDArray[np.int64], frame: geopandas.GeoDataFrame) -> NDArray[np.object_]:
    """Return the outlines of rows, all of them (Multi)Polygons with an inside."""
    outlines = np.asarray(frame.geometry.array)
    kinds = shapely.get_type_id(outlines)
    wrong = ~np.isin(kinds, [shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON])
    wrong |= shapely.is_empty(outlines)
    if wrong.any():
        raise TableError(
            f"cell {ids[wrong][0]} of {path.name} has no outline",
            "expected a Polygon or MultiPolygon that is not empty for each cell",
            "Take these rows out of the table.",
        )
    return outlines


def _read_batches(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table, with its ids as index; one without rows at least."""
    with open_parquet(path) as stored, reading(path):
        yield stored.schema_arrow.empty_table().to_pandas(ignore_metadata=True).set_index(_ID)
        for batch in stored.iter_batches(_BATCH_ROWS, use_threads=False):
            yield batch.to_pandas().set_index(_ID)


def _schema(path: Path) -> dict[str, Kind]:
    with open_parquet(path) as stored, reading(path):
        fields = list(stored.schema_arrow)
        footer = stored.metadata
    with_nulls = {
        column.path_in_schema
        for group in range(footer.num_row_groups)
        for column in (footer.row_group(group).column(i) for i in range(footer.num_columns))
        if column.statistics is None or column.statistics.null_count
    }
    return {
        field.name: _kind(field.type, field.name in with_nulls)
        for field in fields
        if field.name not in (_ID, _GEOMETRY) and not pa.types.is_nested(field.type)
    }


def _kind(stored: pa.DataType, has_nulls: bool) -> Kind:
    if pa.types.is_integer(stored):
        return pd.Int64Dtype() if has_nulls else np.dtype(np.int64)
    if pa.types.is_boolean(stored) and not has_nulls:
        return np.dtype(bool)
    numeric = pa.types.is_floating(stored) or pa.types.is_boolean(stored)
    return np.dtype(np.float64) if numeric else np.dtype(object)


def _typed(table: pd.DataFrame, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return the columns in their order and types."""
    return pd.DataFrame(
        {
            name: table[name].astype(kind).array
            if isinstance(kind, pd.Int64Dtype)
            else table[name].to_numpy().astype(kind, copy=False)
            for name, kind in columns.items()
        },
        index=pd.RangeIndex(len(table)),
    )
