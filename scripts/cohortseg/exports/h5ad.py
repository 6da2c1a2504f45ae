"""Annotated matrices on disk, row after row: AnnData's own HDF5 format, as its documentation describes it.

(anndata.readthedocs.io, "On-disk format", encoding versions of anndata 0.8 and later.)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohortseg.exports.cells import Kind
from cohortseg.exports.extra import exports_extra
from cohortseg.stores.atomic import atomic_path

_CHUNK_VALUES = 2**18
_CHUNK_ROWS = 2**16
_CACHE_BYTES = 4 * 2**20
_GZIP_LEVEL = 1
_TEXT = "O"
INDEX = "_index"
SAMPLE = "sample"


class Shape(NamedTuple):
    """What an annotated matrix holds."""

    n_rows: int
    channels: Sequence[str]
    layers: Sequence[str]
    """The first is X."""
    columns: Mapping[str, Kind]
    """Of obs, `sample` apart."""
    samples: Sequence[str]
    """Categories of obs["sample"]."""


class Rows(NamedTuple):
    """Rows of an annotated matrix."""

    names: Sequence[str]
    sample: int
    """Place of their sample among the categories."""
    layers: Mapping[str, NDArray[np.float32]]
    """(row, channel) by layer."""
    table: pd.DataFrame
    spatial: NDArray[np.float64]
    """(row, 2): x, y."""


class H5adWriter:
    """Writes an .h5ad file row after row; a context manager. The file appears when all rows are there.

    Parameters
    ----------
    path
        Final path.
    shape
        All rows that there will be, and what each has.
    uns
        Texts, and mappings of texts.
    """

    def __init__(self, path: Path, shape: Shape, uns: Mapping[str, Any]) -> None:
        with exports_extra(path.name, "anndata, which brings h5py"):
            import h5py
        self._h5py: Any = h5py
        self._atomic = atomic_path(path)
        self._shape = shape
        self._uns = uns
        self._row = 0
        # A chunk that is not full yet waits in memory only while its data set is open.
        self._stored: list[Any] = []

    def __enter__(self) -> Self:
        temporary = self._atomic.__enter__()
        try:
            self._file = self._h5py.File(temporary, "x", rdcc_nbytes=_CACHE_BYTES)
            self._lay_out()
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def append(self, rows: Rows) -> None:
        """Write some rows after those before."""
        start, end = self._row, self._row + len(rows.names)
        self._row = end
        obs = self._file["obs"]
        obs[INDEX][start:end] = np.array(rows.names, dtype=object)
        obs[SAMPLE]["codes"][start:end] = rows.sample
        self._file["obsm"]["spatial"][start:end] = rows.spatial
        for place, layer in enumerate(self._shape.layers):
            self._matrix(place, layer)[start:end] = rows.layers[layer]
        for name, kind in self._shape.columns.items():
            if isinstance(kind, pd.Int64Dtype):
                column = _whole_numbers(rows.table, name)
                obs[name]["values"][start:end] = column.to_numpy(np.int64, na_value=0)
                obs[name]["mask"][start:end] = column.isna().to_numpy()
            else:
                obs[name][start:end] = _column(rows.table, name, kind)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except BaseException as closing:
            self._atomic.__exit__(type(closing), closing, closing.__traceback__)
            raise
        self._atomic.__exit__(kind, error, trace)

    def _lay_out(self) -> None:
        """Make all groups, and data sets of the size that they will have."""
        shape, file = self._shape, self._file
        _encoded(file, "anndata", "0.1.0")
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            _encoded(file.create_group(name), "dict", "0.1.0")
        matrix = (shape.n_rows, len(shape.channels))
        for i, layer in enumerate(shape.layers or [""]):
            group, name = (file, "X") if i == 0 else (file["layers"], layer)
            _encoded(self._dataset(group, name, matrix, np.float32), "array", "0.2.0")
        _encoded(self._dataset(file["obsm"], "spatial", (shape.n_rows, 2), np.float64), "array", "0.2.0")
        obs = self._frame("obs", shape.n_rows, [SAMPLE, *shape.columns])
        self._categorical(obs, SAMPLE, shape.samples)
        for name, kind in shape.columns.items():
            if isinstance(kind, pd.Int64Dtype):
                self._nullable(obs, name)
                continue
            text = kind.kind == _TEXT
            stored = self._dataset(obs, name, (shape.n_rows,), self._text() if text else kind)
            _encoded(stored, "string-array" if text else "array", "0.2.0")
        var = self._frame("var", len(shape.channels), [])
        var[INDEX][:] = np.array(shape.channels, dtype=object)
        self._mapping(file, "uns", self._uns)

    def _matrix(self, place: int, layer: str) -> Any:
        return self._file["X"] if place == 0 else self._file["layers"][layer]

    def _frame(self, name: str, n_rows: int, columns: Sequence[str]) -> Any:
        group = self._file.create_group(name)
        _encoded(group, "dataframe", "0.2.0")
        group.attrs[INDEX] = INDEX
        group.attrs["column-order"] = np.array(columns, dtype=self._text())
        _encoded(self._dataset(group, INDEX, (n_rows,), self._text()), "string-array", "0.2.0")
        return group

    def _categorical(self, parent: Any, name: str, categories: Sequence[str]) -> None:
        group = parent.create_group(name)
        _encoded(group, "categorical", "0.2.0")
        group.attrs["ordered"] = False
        _encoded(self._dataset(group, "codes", (self._shape.n_rows,), np.int32), "array", "0.2.0")
        stored = self._dataset(group, "categories", (len(categories),), self._text())
        stored[:] = np.array(categories, dtype=object)
        _encoded(stored, "string-array", "0.2.0")

    def _nullable(self, parent: Any, name: str) -> None:
        group = parent.create_group(name)
        _encoded(group, "nullable-integer", "0.1.0")
        for part, kind in (("values", np.int64), ("mask", np.bool_)):
            _encoded(self._dataset(group, part, (self._shape.n_rows,), kind), "array", "0.2.0")

    def _mapping(self, parent: Any, name: str, content: Mapping[str, Any]) -> None:
        group = parent.create_group(name)
        _encoded(group, "dict", "0.1.0")
        for key, value in content.items():
            if isinstance(value, Mapping):
                self._mapping(group, key, value)
            else:
                _encoded(group.create_dataset(key, data=value, dtype=self._text()), "string", "0.2.0")

    def _dataset(self, group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        layout: dict[str, Any] = {}
        if 0 not in shape:  # which could have no chunks
            rows = min(shape[0], _CHUNK_ROWS, max(1, _CHUNK_VALUES // int(np.prod(shape[1:], dtype=int))))
            layout = {"chunks": (rows, *shape[1:]), "compression": "gzip", "compression_opts": _GZIP_LEVEL}
        self._stored.append(group.create_dataset(name, shape=shape, dtype=dtype, shuffle=bool(layout), **layout))
        return self._stored[-1]

    def _text(self) -> Any:
        return self._h5py.string_dtype()


def _encoded(element: Any, encoding: str, version: str) -> None:
    element.attrs["encoding-type"] = encoding
    element.attrs["encoding-version"] = version


def _whole_numbers(table: pd.DataFrame, name: str) -> "pd.Series[Any]":
    column = table[name] if name in table else pd.Series(pd.NA, index=table.index)
    return column.astype(pd.Int64Dtype())


def _column(table: pd.DataFrame, name: str, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return a column as it is stored; missing numbers are NaN, missing texts empty."""
    if name not in table:
        return np.full(len(table), "" if kind.kind == _TEXT else np.nan, kind)
    column = table[name]
    return column.fillna("").astype(str).to_numpy(object) if kind.kind == _TEXT else column.to_numpy().astype(kind)
