"""Single rows of a large table of cells, found by their ids."""

import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cohortseg.stores.geoparquet_file import missing_columns, open_parquet, reading
from cohortseg.stores.memory import release_memory

_BATCH_ROWS = 4096
_BUFFER_BYTES = 2**18
_GEOMETRIES = ("geometry", "bbox")


def column_names(path: Path) -> list[str]:
    """Return the columns that `CellRows` gives of a table, in order; errors likewise."""
    with open_parquet(path) as stored, reading(path):
        return _shown(stored)


def _shown(stored: Any) -> list[str]:
    return [name for name in stored.schema_arrow.names if name not in _GEOMETRIES]


class CellRows:
    """A parquet table with a cell_id, copied once by batches to a file without a name, where a row is found at once.

    A row group, which is the least that can be read of a parquet file, may hold all the cells of an image. Memory is
    that of a batch, and of 16 bytes for each cell. Several threads may ask at once.

    Parameters
    ----------
    path
        The table; the geometries of polygons.parquet are left out.
    scratch
        Folder of the copy, about as large as the values of the table.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is damaged or has no cell_id.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        with open_parquet(path, _BUFFER_BYTES) as stored, reading(path):
            names = _shown(stored)
            if "cell_id" not in names:
                raise missing_columns(path.name, ["cell_id"], names)
            schema = pa.schema([stored.schema_arrow.field(name) for name in names])
            copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - kept by the map
            ids: list[Any] = []
            with pa.ipc.new_file(copy, schema) as writer:
                for batch in stored.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                    ids.append(batch["cell_id"].to_numpy(zero_copy_only=False).astype(np.int64))
                    writer.write_batch(batch.select(names))
            copy.flush()
            self._rows = pa.ipc.open_file(pa.py_buffer(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)))
            copy.close()  # the map holds it
        release_memory()
        self._starts = np.cumsum([0, *map(len, ids)])
        every = np.concatenate(ids) if ids else np.empty(0, np.int64)
        self._order = np.argsort(every, kind="stable")
        self._ids = every[self._order]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, cell_id: int) -> dict[str, Any] | None:
        """Return the values of a cell by column, None where there is no such cell."""
        place = int(np.searchsorted(self._ids, cell_id))
        if place == len(self._ids) or self._ids[place] != cell_id:
            return None
        row = int(self._order[place])
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        found: dict[str, Any] = self._rows.get_batch(batch).slice(row - int(self._starts[batch]), 1).to_pylist()[0]
        return found
