"""3d_polygons.parquet: the cells of all planes of a stack, each with the id of its 3D cell."""

import io
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from cohortseg.errors import TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.geoparquet import BBOX_FIELDS, BBOX_TYPE, COMPRESSION, Bounds, bounds_column, geo_metadata
from cohortseg.stores.geoparquet_file import GeoFile, reading
from cohortseg.stores.parquet_format import (
    BYTE_ARRAY,
    CODECS,
    DOUBLE,
    ENCODINGS,
    INT64,
    MAGIC,
    OPTIONAL,
    PLAIN,
    REQUIRED,
    RLE,
    Chunk,
    Group,
    Leaf,
    data_page,
    footer,
)

SCHEMA = pa.schema(
    [
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("z_index", pa.int64(), nullable=False),
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("plane_cell_id", pa.int64(), nullable=False),
        pa.field("iou", pa.float64(), nullable=False),
        pa.field("bbox", BBOX_TYPE),
    ]
)
_BBOX = [f"bbox.{name}" for name in BBOX_FIELDS]
_LEAVES = [
    Leaf(("geometry",), BYTE_ARRAY, REQUIRED),
    Leaf(("z_index",), INT64, REQUIRED),
    Leaf(("cell_id",), INT64, REQUIRED),
    Leaf(("plane_cell_id",), INT64, REQUIRED),
    Leaf(("iou",), DOUBLE, REQUIRED),
    *(Leaf(("bbox", name), DOUBLE, OPTIONAL) for name in BBOX_FIELDS),
]
_DOUBLE = struct.Struct("<d")
_EMPTY_POLYGON = shapely.to_wkb(shapely.Polygon())
_BATCH_ROWS = 65_536
_THREADS = 2
# Row groups that a thread is given at a time, and how many such tasks may wait to be written.
_GROUPS_PER_TASK = 16
_TASKS_AHEAD = 6


@dataclass(frozen=True)
class LinkedPlane:
    """The cells of one plane, each with its 3D cell.

    Parameters
    ----------
    z_index
        Place in the stack's order.
    polygons
        The plane's polygons.parquet.
    plane_cell_ids
        (n,) int64, ascending: which of its cells are written.
    cell_ids
        (n,) int64: the 3D cell of each.
    iou
        (n,) float64: with the cell of that 3D cell in the plane below, NaN without one.
    """

    z_index: int
    polygons: Path
    plane_cell_ids: NDArray[np.int64]
    cell_ids: NDArray[np.int64]
    iou: NDArray[np.float64]


class _Encoded(NamedTuple):
    """A row group as it goes into the file, but for its place."""

    n_rows: int
    chunks: list[Chunk]
    blocks: list[bytes]
    bounds: Bounds | None


def write_linked_polygons(path: Path, planes: Sequence[LinkedPlane]) -> None:
    """Write the linked cells of all planes as GeoParquet 1.1 with a covering column.

    Columns are `geometry`, `z_index`, `cell_id` (of the 3D cell), `plane_cell_id`, `iou` and `bbox`; rows come plane by
    plane, in the order of each plane's file. Row groups of our own files whose cells are all written are not decoded:
    the bytes of their columns are copied, and only the new columns are encoded. Others are filtered and encoded anew.

    Raises
    ------
    MissingFileError
        A plane's file is not there.
    TableError
        It is damaged, or lacks a cell that is to be written.
    """
    groups: list[Group] = []
    bounds: list[Bounds] = []
    kinds: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("wb") as out, ThreadPoolExecutor(_THREADS) as pool:
        out.write(MAGIC)
        for plane in planes:
            with _PlaneFile(plane.polygons) as source:
                kinds |= source.kinds()
                for encoded in _ahead(source, plane, pool):
                    groups.append(Group(encoded.n_rows, out.tell(), encoded.chunks))
                    out.writelines(encoded.blocks)
                    bounds += [encoded.bounds] if encoded.bounds is not None else []
        total = None
        if bounds:
            (xmin, ymin), (xmax, ymax) = np.min(bounds, axis=0)[:2], np.max(bounds, axis=0)[2:]
            total = float(xmin), float(ymin), float(xmax), float(ymax)
        out.write(footer(_LEAVES, groups, geo_metadata(total, kinds)))


def _ahead(source: "_PlaneFile", plane: LinkedPlane, pool: ThreadPoolExecutor) -> Iterator[_Encoded]:
    """Yield the row groups of a plane in order, encoded by threads ahead of their use."""
    places = source.places_of(plane)
    waiting: deque[Future[list[_Encoded]]] = deque()
    for first in range(0, source.n_groups, _GROUPS_PER_TASK):
        numbers = range(first, min(first + _GROUPS_PER_TASK, source.n_groups))
        waiting.append(pool.submit(source.encode, numbers, plane, places))
        if len(waiting) > _TASKS_AHEAD:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


class _PlaneFile(GeoFile):
    """A plane's polygons, whose row groups can be copied."""

    def kinds(self) -> set[str]:
        """Return the kinds of geometry that the file says to hold."""
        return set(self._column.get("geometry_types") or ["Polygon", "MultiPolygon"])

    def places_of(self, plane: LinkedPlane) -> NDArray[np.int64]:
        """Return which cell of the plane each row of the file is; -1 for none."""
        if "cell_id" in self._names:
            with reading(self._path):
                ids = self._file.read(["cell_id"])["cell_id"].to_numpy()
        else:
            ids = np.arange(1, self.n_rows + 1)
        if np.array_equal(ids, plane.plane_cell_ids):
            return np.arange(ids.size)
        places = np.searchsorted(plane.plane_cell_ids, ids)
        known = places < plane.plane_cell_ids.size
        known[known] = plane.plane_cell_ids[places[known]] == ids[known]
        if np.count_nonzero(known) != plane.plane_cell_ids.size:
            raise TableError(
                f"{self._path} has {np.count_nonzero(known)} of {plane.plane_cell_ids.size} linked cells",
                "expected each of them once",
                "Stitch the stack again.",
            )
        return np.where(known, places, -1)

    def encode(self, numbers: range, plane: LinkedPlane, places: NDArray[np.int64]) -> list[_Encoded]:
        """Return row groups with the columns of 3D cells."""
        metadata, copyable = self._file.metadata, self._is_ours()
        columns = _columns(metadata.schema, ("geometry", "cell_id", *_BBOX))
        end = sum(metadata.row_group(number).num_rows for number in range(numbers.start))
        encoded = []
        with reading(self._path), self._path.open("rb") as raw:
            for number in numbers:
                start, end = end, end + metadata.row_group(number).num_rows
                rows = places[start:end]
                if copyable and rows.size and rows.min() >= 0:
                    encoded.append(_copied(_chunks(metadata.row_group(number), columns), raw, plane, rows))
                elif (rows >= 0).any():
                    encoded += self._anew(number, plane, rows)
        return encoded

    def _is_ours(self) -> bool:
        """Return whether the columns to be copied are stored as this file stores them."""
        schema = self._file.metadata.schema
        stored = {schema.column(i).path: schema.column(i) for i in range(len(schema))}
        expected = {"geometry": (BYTE_ARRAY, 0), "cell_id": (INT64, 0)} | dict.fromkeys(_BBOX, (DOUBLE, 2))
        kinds = {"BYTE_ARRAY": BYTE_ARRAY, "INT64": INT64, "DOUBLE": DOUBLE}
        return (
            self._geometry == "geometry"
            and self._bbox == "bbox"
            and all(
                name in stored
                and (kinds.get(stored[name].physical_type), stored[name].max_definition_level) == facts
                and stored[name].max_repetition_level == 0
                for name, facts in expected.items()
            )
        )

    def _anew(self, number: int, plane: LinkedPlane, places: NDArray[np.int64]) -> Iterator[_Encoded]:
        """Yield the rows of a group that are linked, decoded and encoded again."""
        names = [self._geometry] if self._bbox is None else [self._geometry, self._bbox]
        start = 0
        with pq.ParquetFile(self._path, metadata=self._file.metadata, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, [number], names, use_threads=False):
                rows = places[start : start + len(batch)]
                start += len(batch)
                kept = batch.filter(pa.array(rows >= 0))
                if len(kept):
                    geometry = kept[self._geometry].fill_null(_EMPTY_POLYGON)
                    bbox = None if self._bbox is None else kept[self._bbox]
                    yield _encoded_anew(geometry, bbox, plane, rows[rows >= 0])


def _encoded_anew(geometry: pa.Array, bbox: pa.Array | None, plane: LinkedPlane, rows: NDArray[np.int64]) -> _Encoded:
    if bbox is None:
        bbox = bounds_column(shapely.from_wkb(geometry.to_numpy(zero_copy_only=False)))
    columns = [
        geometry,
        pa.array(np.full(rows.size, plane.z_index, np.int64)),
        pa.array(plane.cell_ids[rows]),
        pa.array(plane.plane_cell_ids[rows]),
        pa.array(plane.iou[rows]),
        bbox,
    ]
    table = pa.table([column.cast(kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
    memory = io.BytesIO()
    pq.write_table(
        table, memory, row_group_size=len(table), compression=COMPRESSION, use_dictionary=False, store_schema=False
    )
    metadata = pq.read_metadata(memory)
    names = [".".join(leaf.path) for leaf in _LEAVES]
    found = _chunks(metadata.row_group(0), _columns(metadata.schema, names))
    chunks, blocks = [found[name][0] for name in names], [_bytes_of(memory, *found[name]) for name in names]
    return _Encoded(len(table), chunks, blocks, _bounds_of(found))


def _copied(
    found: Mapping[str, tuple[Chunk, int]], raw: io.BufferedReader, plane: LinkedPlane, rows: NDArray[np.int64]
) -> _Encoded:
    """Return a row group whose geometries, ids and bounds are the bytes of another file."""
    copied = {name: (chunk, _bytes_of(raw, chunk, start)) for name, (chunk, start) in found.items()}
    parts = [
        copied["geometry"],
        _constant_chunk(plane.z_index, rows.size),
        # Compressing these takes a third of the whole time for a twentieth of the size.
        _new_chunk(plane.cell_ids[rows], None),
        copied["cell_id"],
        _new_chunk(plane.iou[rows], None),
        *(copied[name] for name in _BBOX),
    ]
    return _Encoded(rows.size, [chunk for chunk, _ in parts], [block for _, block in parts], _bounds_of(found))


def _chunks(group: Any, columns: Mapping[str, int]) -> dict[str, tuple[Chunk, int]]:
    """Return what the footer says of each column of a row group, and where the column begins; bounds with extremes."""
    found = {}
    for name, number in columns.items():
        column = group.column(number)
        first = column.data_page_offset
        start = column.dictionary_page_offset if column.has_dictionary_page else first
        statistics = column.statistics if name in _BBOX else None
        extremes = None
        if statistics is not None and statistics.has_min_max:
            extremes = _DOUBLE.pack(statistics.min), _DOUBLE.pack(statistics.max)
        chunk = Chunk(
            _encoding_numbers(column.encodings),
            CODECS[column.compression],
            column.num_values,
            column.total_uncompressed_size,
            column.total_compressed_size,
            first - start,
            extremes,
        )
        found[name] = chunk, start
    return found


@lru_cache(64)
def _encoding_numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(ENCODINGS[name] for name in names)


def _columns(schema: Any, names: Iterable[str]) -> dict[str, int]:
    """Return the number of each of these columns of values that a file has."""
    numbers = {schema.column(i).path: i for i in range(len(schema))}
    return {name: numbers[name] for name in names if name in numbers}


def _bytes_of(file: Any, chunk: Chunk, start: int) -> bytes:
    file.seek(start)
    content: bytes = file.read(chunk.size)
    return content


def _bounds_of(found: Mapping[str, tuple[Chunk, int]]) -> Bounds | None:
    """Return the bounds of a row group: the smallest of the lower ones, the largest of the upper ones."""
    sides = []
    for name, side in zip(_BBOX, (0, 0, 1, 1), strict=True):
        extremes = found[name][0].extremes
        if extremes is None:
            return None
        sides.append(_DOUBLE.unpack(extremes[side])[0])
    return sides[0], sides[1], sides[2], sides[3]


@lru_cache(64)
def _constant_chunk(value: int, n_values: int) -> tuple[Chunk, bytes]:
    chunk, page = _new_chunk(np.full(n_values, value, np.int64), COMPRESSION)
    extreme = struct.pack("<q", value)
    return chunk._replace(extremes=(extreme, extreme)), page


def _new_chunk(values: NDArray[np.int64] | NDArray[np.float64], codec: str | None) -> tuple[Chunk, bytes]:
    """Encode the values of a required column as one page."""
    content = values.tobytes()
    if codec is not None:
        content = pa.Codec(codec).compress(content, asbytes=True)
    page = data_page(values.size, values.nbytes, content)
    size = values.nbytes + len(page) - len(content)
    return Chunk((PLAIN, RLE), CODECS[(codec or "uncompressed").upper()], values.size, size, len(page), 0, None), page
