"""Small results: parquet, JSON, YAML, TSV and PNG files, and label images as ground truth. All writes are atomic."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, MissingFileError, TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.geoparquet import COMPRESSION
from cohortseg.stores.geoparquet_file import missing_columns, open_parquet, reading
from cohortseg.stores.images import FIRST_PAGE, ImageSource, open_image
from cohortseg.stores.npy import open_npy

MAX_LABEL = 2**32 - 1


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet; its index is dropped."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), temporary, compression=COMPRESSION)


@contextmanager
def parquet_parts(path: Path, schema: pa.Schema) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield what appends rows, those of a table with the columns of `schema`, to a parquet file that is written anew.

    The file appears under its name when the block ends well.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression=COMPRESSION) as writer:

        def append(table: pd.DataFrame) -> None:
            writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))

        yield append


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as comma-separated UTF-8 text with a header, some rows at a time; missing values are empty.

    Numbers are written so that reading them gives the same ones; the index is dropped.
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", chunksize=10_000)


def read_parquet(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Read columns of a parquet table, or all of them for None.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is damaged or lacks a column.
    """
    path = Path(path)
    with open_parquet(path) as stored:
        with reading(path):
            present: list[str] = stored.schema_arrow.names
        missing = [name for name in columns or () if name not in present]
        if missing:
            raise missing_columns(path.name, missing, present)
        with reading(path):
            rows = stored.read(columns=None if columns is None else list(columns))
    frame: pd.DataFrame = rows.to_pandas()
    return frame if columns is None else frame[list(columns)]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as `json_bytes` makes it."""
    write_bytes(path, json_bytes(content))


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return JSON, keys in their order; numpy scalars and arrays as numbers and lists, paths as text, NaN as null."""
    return (json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; MissingFileError where it is absent, TableError where it is damaged."""
    text = _read_text(path)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _malformed(path, "a JSON object", str(error)) from error
    if not isinstance(content, dict):
        raise _malformed(path, "a JSON object", f"it holds a {type(content).__name__}")
    return content


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write YAML, keys in their order; values as for `write_json`."""
    write_bytes(path, yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True).encode())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping without running any tag in it; an empty file is an empty mapping.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It is no YAML mapping.
    """
    text = _read_text(path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise _malformed(path, "a YAML mapping", str(error)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _malformed(path, "a YAML mapping", f"it holds a {type(content).__name__}")
    return content


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as tab-separated UTF-8 text with a header; missing values are empty, the index is dropped."""
    write_bytes(path, table.to_csv(sep="\t", index=False, lineterminator="\n").encode())


def read_tsv(path: Path) -> pd.DataFrame:
    """Read tab-separated text with a header, at least one row, every value as text.

    Raises
    ------
    MissingFileError
        There is no file.
    TableError
        It has no rows, or rows of different lengths.
    """
    lines = [line.split("\t") for line in _read_text(path).splitlines()]
    if len(lines) < 2 or len({len(line) for line in lines}) > 1:
        raise _malformed(path, "a table with a header", "it has no rows, or rows of different lengths")
    return pd.DataFrame(lines[1:], columns=lines[0])


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a (y, x, 3) uint8 R, G, B picture as PNG."""
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    write_bytes(path, encoded.tobytes())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file's content."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


class LabelImage:
    """A label image opened lazily, made by `open_label_image`; `read` gives the labels of a box."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) of the plane."""
        return self._source.shape

    @property
    def n_planes(self) -> int:
        """Planes of the file, of which this is one."""
        return self._source.n_planes

    @property
    def pixel_size_um(self) -> float | None:
        """Side of a pixel in micrometres; None when the file does not say."""
        return self._source.pixel_size_um

    def read(self, box: Box) -> Labels:
        """Return the (y, x) uint32 labels of a box; ImageError where they cannot be read or are out of range."""
        pixels = self._source.read([0], box)[0]
        low, high = int(pixels.min(initial=0)), int(pixels.max(initial=0))
        if low < 0 or high > MAX_LABEL:
            name = self._source.path.name
            raise ImageError(
                f"{name} has labels from {low} to {high}", f"expected 0 to {MAX_LABEL}", "Renumber its labels."
            )
        return np.asarray(pixels, dtype=np.uint32)


@contextmanager
def open_label_image(path: Path, plane: int = 0) -> Iterator[LabelImage]:
    """Open a label image in TIFF, PNG, zarr, NPY or any other supported format.

    Parameters
    ----------
    plane
        Which plane of a file with several; of a file with a single plane, that one.

    Raises
    ------
    MissingFileError
        There is no file.
    ImageError
        It cannot be read, has several channels, or is not of integers.
    """
    with _open_plane(Path(path), plane) as source:
        if len(source.channels) != 1 or source.dtype.kind not in "iu":
            raise ImageError(
                f"{source.path.name} has {len(source.channels)} channels of {source.dtype}",
                "expected one channel of integers, a number for each cell",
                "Set labels in config/samples.tsv to an instance label image.",
            )
        yield LabelImage(source)


def _open_plane(path: Path, plane: int) -> ImageSource:
    if path.suffix.lower() == ".npy" and path.is_file():
        return open_npy(path)
    with open_image(path, FIRST_PAGE) as first:
        page = replace(FIRST_PAGE, plane=plane if first.n_planes > 1 else 0)
    return open_image(path, page)


def read_label_image(path: Path, plane: int = 0) -> Labels:
    """Read a whole label image: (y, x) uint32, 0 is background. `plane` and errors as for `open_label_image`.

    Raises
    ------
    ImageError
        Also where it has values outside 0..2**32 - 1.
    """
    with open_label_image(path, plane) as source:
        return source.read(Box(0, 0, *source.shape))


def _plain(value: Any) -> Any:
    """Return a value as JSON and YAML know it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _read_text(path: Path) -> str:
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path} does not exist", "expected a text file", "Run the step that makes it.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(path, "UTF-8 text", str(error)) from error


def _malformed(path: Path, expected: str, cause: str) -> TableError:
    return TableError(f"{Path(path).name} is malformed: {cause}", f"expected {expected}", "Correct or remake the file.")
