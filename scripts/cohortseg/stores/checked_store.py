"""A folder of zarr in which a shortened chunk is an error."""

import os
import struct
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, ShardingCodec, ShardingCodecIndexLocation
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

BLOSC_HEADER = struct.Struct("<4B3I")
"""Versions, flags and type size, then the number of bytes decoded, in a block, and encoded (Blosc 1 chunk format)."""


class TruncatedChunkError(ValueError):
    """A chunk holds fewer bytes than it says; reaches users as the cause of an ImageError."""


@dataclass(frozen=True)
class BloscFrames:
    """Which reads of an array's chunks give one Blosc frame: whole files, or ranges of a shard."""

    in_shards: bool
    index_first: bool

    def holds(self, byte_range: ByteRequest | None) -> bool:
        """Tell whether a read gives a frame, rather than a whole shard or a shard's index."""
        if not self.in_shards:
            return byte_range is None
        return isinstance(byte_range, RangeByteRequest) and not (self.index_first and byte_range.start == 0)


class FrameChecks:
    """Checks the length of what a zarr store gives, for one array of it.

    zarr takes an empty shard for an absent one, which is background. Blosc decodes a truncated frame without
    complaint, from whatever lies behind it in memory; zarr and numcodecs do not check for that, so it is done here,
    once `expect_blosc` has been told of the array.
    """

    _frames: BloscFrames | None = None

    def expect_blosc(self, array: "zarr.Array[Any]") -> None:
        """Check Blosc frames if `array`, the only one that is read from this store, has them."""
        codecs = getattr(array.metadata, "codecs", ())
        sharding = next((codec for codec in codecs if isinstance(codec, ShardingCodec)), None)
        inner = array.compressors if sharding is None else sharding.codecs
        if any(isinstance(codec, BloscCodec) or getattr(codec, "codec_id", "") == "blosc" for codec in inner[-1:]):
            index_first = sharding is not None and sharding.index_location is ShardingCodecIndexLocation.start
            self._frames = BloscFrames(in_shards=sharding is not None, index_first=index_first)

    def check_value(self, key: str, value: Buffer, byte_range: ByteRequest | None) -> None:
        """Raise TruncatedChunkError where a value that was read lacks bytes."""
        is_metadata = key.rsplit("/", 1)[-1].startswith((".z", "zarr.json"))
        if len(value) < _least_bytes(byte_range):
            raise TruncatedChunkError(f"{key} is too short: {len(value)} bytes where it was read")
        if self._frames is not None and not is_metadata and self._frames.holds(byte_range):
            check_frame(key, value[: BLOSC_HEADER.size].to_bytes(), len(value))


class CheckedStore(FrameChecks, LocalStore):
    """A folder of zarr in which a shortened chunk is an error."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See zarr.abc.store.Store; TruncatedChunkError where bytes are missing."""
        value = await super().get(key, prototype, byte_range)
        if value is not None:
            self.check_value(key, value, byte_range)
        return value

    def value(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of a key from `start`, negative from the end, to `end`; FileNotFoundError without it."""
        path = f"{self.root}/{key}"  # paths are slow to join, and chunks may be many
        if start is None and end is None:
            with open(path, "rb", buffering=0) as raw:
                return raw.readall()
        with open(path, "rb") as file:
            if start is not None and start < 0:
                start = max(0, file.seek(0, os.SEEK_END) + start)
            if start:
                file.seek(start)
            return file.read(-1 if end is None else end - (start or 0))


def _least_bytes(byte_range: ByteRequest | None) -> int:
    """Return the number of bytes that a read must give; no file of a store is empty."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else 1


def check_frame(key: str, start: bytes, n_bytes: int) -> None:
    """Raise TruncatedChunkError where a Blosc frame has not the size that its first bytes say."""
    content = start[: BLOSC_HEADER.size]
    encoded_bytes = BLOSC_HEADER.unpack(content)[-1] if len(content) == BLOSC_HEADER.size else BLOSC_HEADER.size
    if encoded_bytes != n_bytes:
        raise TruncatedChunkError(f"{key} has a Blosc frame of {n_bytes} bytes that should have {encoded_bytes}")
