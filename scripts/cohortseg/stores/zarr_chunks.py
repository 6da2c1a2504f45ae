"""Chunks of zarr arrays, decoded here where the codecs are the usual ones: several times as fast as through zarr.

What zarr does for every chunk in Python, on threads of its own, takes longer than decoding it. Layouts: zarr v2 and v3
specifications, and the sharding-indexed codec of v3 (shard index: offset and size of each chunk, uint64, all ones for
an absent one, then the CRC-32C of the index).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import google_crc32c
import imagecodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    ShardingCodecIndexLocation,
    ZstdCodec,
)

from cohortseg.stores.bounds import check_expansion
from cohortseg.stores.checked_store import TruncatedChunkError, check_frame

ABSENT = np.iinfo(np.uint64).max
_CRC_BYTES = 4
_INDEX_ENTRY_BYTES = 16

Decoder = Callable[..., Any]

V2_DECODERS: dict[str, Decoder] = {
    "blosc": imagecodecs.blosc_decode,
    "zstd": imagecodecs.zstd_decode,
    "zlib": imagecodecs.zlib_decode,
    "gzip": imagecodecs.gzip_decode,
}
"""By the identifier of a numcodecs codec."""

V3_DECODERS: dict[type, Decoder] = {
    BloscCodec: imagecodecs.blosc_decode,
    ZstdCodec: imagecodecs.zstd_decode,
    GzipCodec: imagecodecs.gzip_decode,
}


class ReadKey(Protocol):
    """Reads a value of a store, or a range of it; FileNotFoundError where there is none."""

    def __call__(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes from `start`, negative from the end, to `end`."""


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a chunk become pixels: a decompressor or none, the stored dtype, C or F order."""

    decode: Decoder | None
    dtype: np.dtype[Any]
    order: Literal["C", "F"]


class ChunkReader:
    """Reads whole chunks by their place in the grid of chunks; may be called from several threads."""

    def __init__(
        self, array: "zarr.Array[Any]", encoding: Encoding, sharding: ShardingCodec | None, read: ReadKey
    ) -> None:
        # looked up once: zarr computes its properties anew for every chunk
        self._shape = array.chunks
        self._n_bytes = math.prod(array.chunks) * encoding.dtype.itemsize
        self._encode_key = array.metadata.encode_chunk_key
        self._folder = f"{array.path}/" if array.path else ""
        self._encoding = encoding
        self._read = read
        self._index_first = sharding is not None and sharding.index_location is ShardingCodecIndexLocation.start
        self._per_shard = None
        if array.shards is not None:
            self._per_shard = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        self._indices: dict[str, NDArray[np.uint64] | None] = {}

    def chunk(self, place: tuple[int, ...]) -> NDArray[Any] | None:
        """Return a chunk, as large as all others also at the array's end; None where it is absent.

        Raises
        ------
        Exception
            The codec's own, TruncatedChunkError or ImageError: the data is damaged.
        """
        content, key = self._encoded(place)
        if content is None:
            return None
        encoding, n_bytes = self._encoding, self._n_bytes
        check_expansion(len(content), n_bytes)
        if encoding.decode is imagecodecs.blosc_decode:
            check_frame(key, content, len(content))
        if encoding.decode is None:
            decoded: Any = content
        else:
            decoded = encoding.decode(content, out=np.empty(n_bytes, np.uint8))
        if len(decoded) != n_bytes:
            raise TruncatedChunkError(f"{key} holds {len(decoded)} bytes of pixels where {n_bytes} were expected")
        return np.frombuffer(decoded, encoding.dtype).reshape(self._shape, order=encoding.order)

    def _encoded(self, place: tuple[int, ...]) -> tuple[bytes | None, str]:
        if self._per_shard is None:
            key = self._key(place)
            return self._value(key), key
        key = self._key(tuple(i // n for i, n in zip(place, self._per_shard, strict=True)))
        if key not in self._indices:  # read twice by two threads at worst
            self._indices[key] = self._shard_index(key)
        index = self._indices[key]
        if index is None:
            return None, key
        offset, size = index[tuple(i % n for i, n in zip(place, self._per_shard, strict=True))]
        if offset == size == ABSENT:
            return None, key
        content = self._read(key, int(offset), int(offset) + int(size))
        if len(content) != size:
            raise TruncatedChunkError(f"{key} is too short: it ends before byte {int(offset) + int(size)}")
        return content, key

    def _shard_index(self, key: str) -> NDArray[np.uint64] | None:
        n_bytes = math.prod(self._per_shard or ()) * _INDEX_ENTRY_BYTES + _CRC_BYTES
        content = self._value(key, *((0, n_bytes) if self._index_first else (-n_bytes, None)))
        if content is None:
            return None
        if len(content) != n_bytes or google_crc32c.value(content[:-_CRC_BYTES]).to_bytes(4, "little") != content[-4:]:
            raise TruncatedChunkError(f"the index of the shard {key} is damaged")
        return np.frombuffer(content[:-_CRC_BYTES], "<u8").reshape(*(self._per_shard or ()), 2)

    def _key(self, place: tuple[int, ...]) -> str:
        return self._folder + self._encode_key(place)

    def _value(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        try:
            content = self._read(key, start, end)
        except FileNotFoundError:
            return None
        if not content:
            raise TruncatedChunkError(f"{key} is too short: 0 bytes where it was read")
        return content


def chunk_reader(array: "zarr.Array[Any]", read: ReadKey) -> ChunkReader | None:
    """Return what reads the chunks of an array, or None where its codecs are left to zarr."""
    if array.metadata.zarr_format == 2:
        encoding = _encoding_v2(array)
        return None if encoding is None else ChunkReader(array, encoding, None, read)
    codecs, sharding = tuple(array.metadata.codecs), None
    if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec):
        sharding = codecs[0]
        codecs = tuple(sharding.codecs)
        kinds = [type(codec) for codec in sharding.index_codecs]
        if kinds != [BytesCodec, Crc32cCodec] or _order_of(sharding.index_codecs[0]) != "<":
            return None
    encoding = _encoding_v3(array, codecs)
    return None if encoding is None else ChunkReader(array, encoding, sharding, read)


def _encoding_v2(array: "zarr.Array[Any]") -> Encoding | None:
    names = [getattr(codec, "codec_id", "") for codec in array.compressors]
    if array.filters or len(names) > 1 or not set(names) <= set(V2_DECODERS):
        return None
    dtype, is_f = array.metadata.dtype.to_native_dtype(), getattr(array.metadata, "order", "C") == "F"
    return Encoding(V2_DECODERS[names[0]] if names else None, dtype, "F" if is_f else "C")


def _encoding_v3(array: "zarr.Array[Any]", codecs: tuple[Any, ...]) -> Encoding | None:
    if not codecs or not isinstance(codecs[0], BytesCodec) or len(codecs) > 2:
        return None
    if len(codecs) == 2 and type(codecs[1]) not in V3_DECODERS:
        return None
    dtype = np.dtype(array.dtype).newbyteorder(_order_of(codecs[0]))
    return Encoding(V3_DECODERS[type(codecs[1])] if len(codecs) == 2 else None, dtype, "C")


def _order_of(codec: Any) -> Literal["<", ">"]:
    """Return the byte order of a bytes codec; one that says none is for single bytes."""
    return ">" if codec.endian is not None and codec.endian.value == "big" else "<"
