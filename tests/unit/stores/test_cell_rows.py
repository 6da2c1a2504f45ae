"""Rows of tables of cells, found by id."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.cell_rows import CellRows, column_names
from cohortseg.stores.tables import write_parquet


def test_rows_are_found_in_any_order_over_many_batches(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(10_000) * 3 + 1
    table = pd.DataFrame({"cell_id": ids, "twice": ids * 2.0, "edge": ids % 2 == 0, "name": [f"c{i}" for i in ids]})
    write_parquet(tmp_path / "cells.parquet", table)
    rows = CellRows(tmp_path / "cells.parquet", tmp_path)
    for cell_id in (1, 4, 29_998, int(ids[5000])):
        row = {"cell_id": cell_id, "twice": cell_id * 2.0, "edge": cell_id % 2 == 0, "name": f"c{cell_id}"}
        assert rows.find(cell_id) == row
    for cell_id in (-1, 0, 2, 30_001, 2**40):
        assert rows.find(cell_id) is None
    assert len(rows) == 10_000
    assert list(tmp_path.iterdir()) == [tmp_path / "cells.parquet"]


def test_a_table_without_cells_has_no_row(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cells.parquet", pd.DataFrame({"cell_id": np.empty(0, np.int64), "x": np.empty(0)}))
    assert CellRows(tmp_path / "cells.parquet", tmp_path).find(1) is None
    assert column_names(tmp_path / "cells.parquet") == ["cell_id", "x"]


def test_tables_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        CellRows(tmp_path / "none.parquet", tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(TableError, match=r"bad\.parquet"):
        CellRows(tmp_path / "bad.parquet", tmp_path)
    write_parquet(tmp_path / "other.parquet", pd.DataFrame({"x": [1]}))
    with pytest.raises(TableError, match="cell_id"):
        CellRows(tmp_path / "other.parquet", tmp_path)
