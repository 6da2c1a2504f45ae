"""The little of parquet's own format that is needed to put files together from columns that are encoded already.

Structures are those of `parquet.thrift` of the Apache Parquet format, in thrift's compact protocol.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

MAGIC = b"PAR1"
INT64, DOUBLE, BYTE_ARRAY = 2, 5, 6
REQUIRED, OPTIONAL = 0, 1
ZSTD = 6
PLAIN, RLE = 0, 3
ENCODINGS = {
    "PLAIN": PLAIN, "PLAIN_DICTIONARY": 2, "RLE": RLE, "BIT_PACKED": 4, "DELTA_BINARY_PACKED": 5,
    "DELTA_LENGTH_BYTE_ARRAY": 6, "DELTA_BYTE_ARRAY": 7, "RLE_DICTIONARY": 8, "BYTE_STREAM_SPLIT": 9,
}  # fmt: skip
CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": ZSTD}
_FORMAT_VERSION = 2
# Types of the compact protocol.
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


class Leaf(NamedTuple):
    """A column of values: its place in the schema and its type."""

    path: tuple[str, ...]
    kind: int
    repetition: int


class Chunk(NamedTuple):
    """One column of one row group, encoded: what the footer says of it."""

    encodings: tuple[int, ...]
    codec: int
    n_values: int
    uncompressed_size: int
    size: int
    dictionary_size: int
    """Bytes of the dictionary page, which comes first; 0 without one."""
    extremes: tuple[bytes, bytes] | None
    """Smallest and largest value, encoded."""


class Group(NamedTuple):
    """A row group: its rows, where its first column begins, and its columns, one after the other."""

    n_rows: int
    offset: int
    chunks: Sequence[Chunk]


def footer(leaves: Sequence[Leaf], groups: Sequence[Group], metadata: dict[str, str]) -> bytes:
    """Return the end of a file, from its metadata to the magic bytes.

    Columns of a struct follow each other; a struct is optional, as are its columns.
    """
    schema = _schema(leaves)
    pairs = [_fields((1, _BINARY, _text(key)), (2, _BINARY, _text(value))) for key, value in metadata.items()]
    heads = [_head(leaf) for leaf in leaves]
    content = _fields(
        (1, _I32, _integer(_FORMAT_VERSION)),
        (2, _LIST, _list(_STRUCT, schema)),
        (3, _I64, _integer(sum(group.n_rows for group in groups))),
        (4, _LIST, _list(_STRUCT, [_group(group, heads) for group in groups])),
        (5, _LIST, _list(_STRUCT, pairs)),
        (6, _BINARY, _text("cohortseg")),
        # Without an order of values, readers may not trust extremes.
        (7, _LIST, _list(_STRUCT, [_fields((1, _STRUCT, _fields()))] * len(leaves))),
    )
    return content + struct.pack("<I", len(content)) + MAGIC


def data_page(n_values: int, uncompressed_size: int, compressed: bytes) -> bytes:
    """Return a page of plainly encoded values of a required column, with its head."""
    values = _fields(
        (1, _I32, _integer(n_values)), (2, _I32, _integer(PLAIN)), (3, _I32, _integer(RLE)), (4, _I32, _integer(RLE))
    )
    head = _fields(
        (1, _I32, _integer(0)),
        (2, _I32, _integer(uncompressed_size)),
        (3, _I32, _integer(len(compressed))),
        (5, _STRUCT, values),
    )
    return head + compressed


def _schema(leaves: Sequence[Leaf]) -> list[bytes]:
    """Return the tree of columns in the order of a walk, as parquet lists it."""
    structs = {leaf.path[0]: 0 for leaf in leaves if len(leaf.path) > 1}
    for leaf in leaves:
        if len(leaf.path) > 1:
            structs[leaf.path[0]] += 1
    n_top = len({leaf.path[0] for leaf in leaves})
    elements = [_fields((4, _BINARY, _text("schema")), (5, _I32, _integer(n_top)))]
    for leaf in leaves:
        if n_children := structs.pop(leaf.path[0], 0):
            elements.append(
                _fields(
                    (3, _I32, _integer(OPTIONAL)), (4, _BINARY, _text(leaf.path[0])), (5, _I32, _integer(n_children))
                )
            )
        kind, repetition = _integer(leaf.kind), _integer(leaf.repetition)
        elements.append(_fields((1, _I32, kind), (3, _I32, repetition), (4, _BINARY, _text(leaf.path[-1]))))
    return elements


def _head(leaf: Leaf) -> tuple[bytes, bytes]:
    """Return what every chunk of a column begins with, up to its encodings, and its path."""
    return _fields((1, _I32, _integer(leaf.kind)))[:-1], _list(_BINARY, [_text(name) for name in leaf.path])


def _group(group: Group, heads: Sequence[tuple[bytes, bytes]]) -> bytes:
    columns, offset = [], group.offset
    for chunk, head in zip(group.chunks, heads, strict=True):
        columns.append(b"\x26\x00\x1c" + _chunk(chunk, head, offset) + b"\0")
        offset += chunk.size
    return _fields(
        (1, _LIST, _list(_STRUCT, columns)),
        (2, _I64, _integer(sum(chunk.uncompressed_size for chunk in group.chunks))),
        (3, _I64, _integer(group.n_rows)),
        (5, _I64, _integer(group.offset)),
        (6, _I64, _integer(offset - group.offset)),
    )


def _chunk(chunk: Chunk, head: tuple[bytes, bytes], offset: int) -> bytes:
    """Return what the footer says of a chunk. Files have many, so its parts are put together here by hand.

    Each part begins with how much its number is above that of the part before, and its type, in one byte.
    """
    first, path = head
    parts = [
        first,
        b"\x19" + _encodings(chunk.encodings),
        b"\x19" + path,
        b"\x15" + _integer(chunk.codec),
        b"\x16" + _integer(chunk.n_values),
        b"\x16" + _integer(chunk.uncompressed_size),
        b"\x16" + _integer(chunk.size),
        b"\x26" + _varint((offset + chunk.dictionary_size) << 1),
    ]
    number = 9
    if chunk.dictionary_size:
        parts.append(b"\x26" + _varint(offset << 1))
        number = 11
    if chunk.extremes is not None:
        smallest, largest = chunk.extremes
        parts.append(
            bytes([(12 - number) << 4 | _STRUCT]) + b"\x58" + _bytes(largest) + b"\x18" + _bytes(smallest) + b"\0"
        )
    parts.append(b"\0")
    return b"".join(parts)


@lru_cache(64)
def _encodings(encodings: tuple[int, ...]) -> bytes:
    return _list(_I32, [_integer(encoding) for encoding in encodings])


def _fields(*fields: tuple[int, int, bytes]) -> bytes:
    """Return a struct of (number, type, content) in rising order of number."""
    out, after = bytearray(), 0
    for number, kind, content in fields:
        out.append((number - after) << 4 | kind)
        out += content
        after = number
    out.append(0)
    return bytes(out)


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


@lru_cache(1 << 14)
def _integer(value: int) -> bytes:
    """Return a number as thrift has it: zigzag, seven bits a byte."""
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _bytes(value: bytes) -> bytes:
    return (bytes([len(value)]) if len(value) < 0x80 else _varint(len(value))) + value
