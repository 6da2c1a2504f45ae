import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tifffile
import zarr

from cohortseg.errors import ImageError, MissingFileError, TableError
from cohortseg.stores import tables

TABLE = pd.DataFrame({"cell_id": [1, 2], "mean_DAPI": np.array([0.5, np.nan], np.float32), "sample": ["a", "ü"]})


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    tables.write_parquet(tmp_path / "a.parquet", TABLE)
    pd.testing.assert_frame_equal(tables.read_parquet(tmp_path / "a.parquet", None), TABLE)
    chosen = tables.read_parquet(tmp_path / "a.parquet", ["sample", "cell_id"])
    pd.testing.assert_frame_equal(chosen, TABLE[["sample", "cell_id"]])


def test_parts_make_one_table_or_none(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("cell_id", pa.int64(), nullable=False), pa.field("away", pa.float64())])
    rows = pd.DataFrame({"cell_id": [1, 2, 3], "away": [0.5, np.nan, 2]})
    with tables.parquet_parts(tmp_path / "a.parquet", schema) as append:
        append(rows[:2])
        append(rows[2:])
    pd.testing.assert_frame_equal(tables.read_parquet(tmp_path / "a.parquet", None), rows)
    with tables.parquet_parts(tmp_path / "none.parquet", schema):
        pass
    assert tables.read_parquet(tmp_path / "none.parquet", None).columns.tolist() == ["cell_id", "away"]
    with pytest.raises(KeyError), tables.parquet_parts(tmp_path / "half.parquet", schema) as append:
        append(rows[["cell_id"]])
    assert {path.name for path in tmp_path.iterdir()} == {"a.parquet", "none.parquet"}


def test_text_says_the_numbers_exactly_and_nothing_for_missing_ones(tmp_path: Path) -> None:
    third = pd.DataFrame({"id": pd.array([1, None], "Int64"), "third": [1 / 3, np.nan], "edge": [True, False]})
    tables.write_csv(tmp_path / "a.csv", third)
    assert (tmp_path / "a.csv").read_bytes() == b"id,third,edge\n1,0.3333333333333333,True\n,,False\n"


def test_a_table_without_rows_keeps_its_columns_and_types(tmp_path: Path) -> None:
    tables.write_parquet(tmp_path / "a.parquet", TABLE.iloc[:0])
    assert tables.read_parquet(tmp_path / "a.parquet", None).dtypes.equals(TABLE.dtypes)


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    tables.write_parquet(tmp_path / "a.parquet", TABLE)
    with pytest.raises(TableError, match=r"a\.parquet lacks the column area, b; it has: cell_id, mean_DAPI, sample"):
        tables.read_parquet(tmp_path / "a.parquet", ["cell_id", "area", "b"])


@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.95])
def test_a_damaged_table_is_named(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    tables.write_parquet(path, TABLE)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(TableError, match=r"a\.parquet cannot be read"):
        tables.read_parquet(path, None)


def test_absent_files_are_missing_file_errors(tmp_path: Path) -> None:
    for read in (tables.read_json, tables.read_yaml, tables.read_label_image, lambda p: tables.read_parquet(p, None)):
        with pytest.raises(MissingFileError, match="absent does not exist"):
            read(tmp_path / "absent")


CONTENT = {
    "z": 1,
    "a": np.float32(0.5),
    "n": [np.int64(3), float("nan"), np.float64("inf"), None],
    "array": np.arange(3),
    "flag": np.bool_(True),
    "path": Path("x/y"),
    "µ": (1, 2),
    "nested": {1: "one"},
}
PLAIN = {
    "z": 1,
    "a": 0.5,
    "n": [3, None, None, None],
    "array": [0, 1, 2],
    "flag": True,
    "path": str(Path("x/y")),
    "µ": [1, 2],
    "nested": {"1": "one"},
}


def test_json_and_yaml_hold_plain_values_in_the_order_given(tmp_path: Path) -> None:
    tables.write_json(tmp_path / "a.json", CONTENT)
    tables.write_yaml(tmp_path / "a.yaml", CONTENT)
    for read in (tables.read_json(tmp_path / "a.json"), tables.read_yaml(tmp_path / "a.yaml")):
        assert read == PLAIN
        assert list(read) == list(PLAIN)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == PLAIN


@pytest.mark.parametrize("content", ["{", "[1, 2]", "", "3", "\xff"])
def test_json_that_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(TableError, match=r"a\.json is malformed"):
        tables.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["{", "- 1", "a: !!python/object/apply:os.getcwd []", "[" * 5000, "a\x00"])
def test_yaml_that_is_no_mapping_or_would_run_code_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(TableError, match=r"a\.yaml is malformed"):
        tables.read_yaml(tmp_path / "a.yaml")


def test_an_empty_yaml_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing set\n")
    assert tables.read_yaml(tmp_path / "a.yaml") == {}


def test_a_summary_is_tab_separated_with_empty_missing_values(tmp_path: Path) -> None:
    tables.write_tsv(tmp_path / "summary.tsv", TABLE)
    assert (tmp_path / "summary.tsv").read_bytes() == "cell_id\tmean_DAPI\tsample\n1\t0.5\ta\n2\t\tü\n".encode()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_label_images_are_read_as_uint32(dtype: type, tmp_path: Path) -> None:
    labels = np.array([[0, 1], [200, 3]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    zarr.create_array(tmp_path / "a.zarr", data=labels)
    for name in ("a.tif", "a.zarr"):
        read = tables.read_label_image(tmp_path / name)
        assert read.dtype == np.uint32
        np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (np.array([[0, -1]], np.int16), "labels from -1 to 0"),
        (np.array([[0, 2**32]], np.int64), f"labels from 0 to {2**32}"),
        (np.array([[0.0, 1.5]], np.float32), "1 channels of float32"),
        (np.zeros((20, 20, 3), np.uint8), "3 channels of uint8"),
    ],
)
def test_images_that_are_no_labels_are_refused(pixels: np.ndarray, fault: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    with pytest.raises(ImageError, match=fault):
        tables.read_label_image(tmp_path / "a.tif")
