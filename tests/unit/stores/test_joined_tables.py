"""Tables of many samples joined into one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores import joined_tables
from cohortseg.stores.joined_tables import join_parquet
from cohortseg.stores.tables import write_parquet


def stored(folder: Path, **tables: pd.DataFrame) -> list[tuple[str, Path]]:
    for name, table in tables.items():
        write_parquet(folder / f"{name}.parquet", table)
    return [(name, folder / f"{name}.parquet") for name in tables]


def test_rows_come_in_order_with_their_samples_name_and_all_columns(tmp_path: Path) -> None:
    tables = stored(
        tmp_path,
        a=pd.DataFrame({"cell_id": [1, 2], "area": [5, 6], "mean_A": [0.5, 1.5]}),
        b=pd.DataFrame({"cell_id": [1], "area": [7.5], "mean_B": [9.0]}),
    )
    join_parquet(tmp_path / "all.parquet", tables, name_column="sample")
    found = pd.read_parquet(tmp_path / "all.parquet")
    assert list(found.columns) == ["sample", "cell_id", "area", "mean_A", "mean_B"]
    assert list(found["sample"]) == ["a", "a", "b"]
    assert list(found["cell_id"]) == [1, 2, 1]
    assert list(found["area"]) == [5.0, 6.0, 7.5]  # whole and real numbers become real ones
    np.testing.assert_array_equal(found["mean_A"], [0.5, 1.5, np.nan])
    np.testing.assert_array_equal(found["mean_B"], [np.nan, np.nan, 9.0])


def test_small_tables_share_row_groups_and_large_ones_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_tables, "_ROWS", 100)
    sizes = {"large": 250, **{f"small{i}": 30 for i in range(5)}}
    tables = stored(tmp_path, **{name: pd.DataFrame({"cell_id": np.arange(n)}) for name, n in sizes.items()})
    join_parquet(tmp_path / "all.parquet", tables, name_column="sample")
    with pq.ParquetFile(tmp_path / "all.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        found = file.read().to_pandas()
    assert sum(groups) == len(found) == 400
    assert max(groups) <= 200
    assert len(groups) <= 4
    for name, n in sizes.items():
        assert list(found.loc[found["sample"] == name, "cell_id"]) == list(range(n))


def test_no_tables_and_tables_without_rows_make_a_table(tmp_path: Path) -> None:
    join_parquet(tmp_path / "none.parquet", [], name_column="sample")
    assert list(pd.read_parquet(tmp_path / "none.parquet").columns) == ["sample"]
    empty = stored(tmp_path, a=pd.DataFrame({"cell_id": np.zeros(0, np.int64)}))
    join_parquet(tmp_path / "empty.parquet", empty, name_column="sample")
    assert pd.read_parquet(tmp_path / "empty.parquet").shape == (0, 2)


def test_columns_that_do_not_go_together_and_missing_files_are_told(tmp_path: Path) -> None:
    tables = stored(tmp_path, a=pd.DataFrame({"area": [1]}))
    pq.write_table(pa.table({"area": ["wide"]}), tmp_path / "b.parquet")
    with pytest.raises(TableError, match=r"b\.parquet has columns of other types"):
        join_parquet(tmp_path / "all.parquet", [*tables, ("b", tmp_path / "b.parquet")], name_column="sample")
    with pytest.raises(MissingFileError, match=r"c\.parquet does not exist"):
        join_parquet(tmp_path / "all.parquet", [*tables, ("c", tmp_path / "c.parquet")], name_column="sample")
    assert not (tmp_path / "all.parquet").exists()
