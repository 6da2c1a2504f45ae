"""Tables of many samples joined into one, a piece at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cohortseg.errors import TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.geoparquet import COMPRESSION
from cohortseg.stores.geoparquet_file import open_parquet, reading

_ROWS = 1 << 16
"""Rows of a row group, and those that are read at a time."""


def join_parquet(path: Path, tables: Sequence[tuple[str, Path]], *, name_column: str) -> None:
    """Write the rows of many parquet tables into one, each with the name of its table in front.

    The columns are those of all tables: in the order of the first, then those that the others add, in their order.
    Where a table lacks one, its rows have null. Of a column's types the widest is taken, such as real numbers for
    whole and real ones. Memory holds a piece of one table, whatever their number.

    Parameters
    ----------
    path
        Where it is written, atomically.
    tables
        Name and file of each.
    name_column
        Of the joined table, which the others do not have.

    Raises
    ------
    MissingFileError
        A file is not there.
    TableError
        A file is damaged, or a column has types that do not go together.
    """
    schema = pa.schema([(name_column, pa.string())])
    for _, file in tables:
        schema = _widened(schema, file)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression=COMPRESSION) as writer:
        waiting: list[pa.Table] = []
        n_waiting = 0
        for name, file in tables:
            for piece in _pieces(file):
                waiting.append(_fitted(piece, schema, name_column, name))
                n_waiting += piece.num_rows
                if n_waiting >= _ROWS:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=n_waiting)
                    waiting, n_waiting = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=max(1, n_waiting))


def _widened(schema: pa.Schema, file: Path) -> pa.Schema:
    """Return a schema with what a file's needs besides."""
    with open_parquet(file) as stored, reading(file):
        found = stored.schema_arrow.remove_metadata()
    try:
        return pa.unify_schemas([schema, found], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TableError(
            f"{file} has columns of other types than the tables before it: {error}",
            "expected tables of cells of one version of cohortseg",
            "Measure its cells again.",
        ) from error


def _pieces(file: Path) -> Iterator[pa.Table]:
    with open_parquet(file) as stored, reading(file):
        for batch in stored.iter_batches(_ROWS):
            yield pa.Table.from_batches([batch])


def _fitted(piece: pa.Table, schema: pa.Schema, name_column: str, name: str) -> pa.Table:
    """Return a piece of a table with all columns of a schema, in their order and types."""
    columns = []
    for field in schema:
        if field.name == name_column:
            columns.append(pa.array([name] * piece.num_rows, field.type))
        elif field.name in piece.column_names:
            columns.append(piece[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(piece.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
