"""Geometries of a GeoParquet file as they are stored, in pieces that threads read at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.stores.geoparquet_file import GeoFile, WkbRows, reading

_BATCH_ROWS = 65_536


class Piece(NamedTuple):
    """Row groups that follow each other in a file."""

    groups: range
    first_row: int
    """The first of their rows in the file, from 0."""
    y_range: tuple[float, float] | None
    """What their geometries span downwards, as the covering column states it; None where it does not."""


class WkbFile(GeoFile):
    """An open GeoParquet file whose geometries are read as WKB; several threads may read from it.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is damaged or has no geometry column in WKB.
    """

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def pieces(self, n_rows: int) -> list[Piece]:
        """Return all row groups, gathered into pieces of at least `n_rows` rows each, but for the last."""
        bounds, pieces = self.group_bounds(), list[Piece]()
        first_group, first_row, end_row = 0, 0, 0
        for group in range(self.n_groups):
            end_row += self._file.metadata.row_group(group).num_rows
            if end_row - first_row >= n_rows or group == self.n_groups - 1:
                stated = [each for each in bounds[first_group : group + 1] if each is not None]
                known = len(stated) == group + 1 - first_group
                span = (min(each[1] for each in stated), max(each[3] for each in stated)) if known else None
                pieces.append(Piece(range(first_group, group + 1), first_row, span))
                first_group, first_row = group + 1, end_row
        return pieces

    def read_piece(self, piece: Piece) -> Iterator[WkbRows]:
        """Read ids and geometries of a piece, in order, so many rows at a time that memory is bounded.

        A `cell_id` that the file lacks is the number of the row, from 1.

        Raises
        ------
        TableError
            The file is damaged, or stores the geometries otherwise.
        """
        numbered = "cell_id" not in self._names
        names = [self._geometry] if numbered else [self._geometry, "cell_id"]
        first_row = piece.first_row
        ids = self._row_numbers(piece.groups) if numbered else None
        with reading(self._path), self._again() as file:
            for batch in file.iter_batches(_BATCH_ROWS, list(piece.groups), names, use_threads=False):
                start = first_row - piece.first_row
                cell_ids = batch["cell_id"] if ids is None else ids.slice(start, len(batch))
                if cell_ids.null_count:
                    raise TableError(
                        f"{self._path.name} has rows without a cell_id", "expected one in each", "Number its cells."
                    )
                yield WkbRows(first_row, cell_ids.to_numpy(), *self._bytes(batch[self._geometry]))
                first_row += len(batch)

    def _again(self) -> pq.ParquetFile:
        """Open the file once more, for one thread."""
        return pq.ParquetFile(self._path, metadata=self._file.metadata, pre_buffer=False)

    def _bytes(self, column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the bytes of a column, not copied, and where each value begins and the last ends."""
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise TableError(
                f"{self._path.name} stores its geometries as {column.type}", "expected WKB", "Write it again as WKB."
            )
        values = column.fill_null(b"") if column.null_count else column
        values = values.cast(pa.large_binary())
        _, offsets, data = values.buffers()
        starts = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
        return np.frombuffer(data or b"", np.uint8), starts
