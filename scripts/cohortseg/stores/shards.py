"""Shards of label arrays, encoded in the thread that made them.

zarr writes through one event loop, which four threads that draw labels wait for most of the time. What is written
here is what zarr's sharding codec and zarr v2 specify, and is read with zarr.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import Zstd

from cohortseg.arrays import Box, Labels

ZSTD_LEVEL = 3
_ABSENT = 2**64 - 1
_ZSTD = Zstd(level=ZSTD_LEVEL)


@dataclass(frozen=True)
class ShardGrid:
    """The shards of one level of a label image.

    Parameters
    ----------
    folder
        Of the zarr array, its metadata written by zarr.
    shape
        (y, x) of a plane of the level.
    chunk_px, shard_px
        Sides of a chunk and of a shard, a multiple of it. In zarr v2, which has no shards, a shard is only what is
        written at once.
    zarr_format
        3 or 2.
    is_stack
        The array is (z, y, x), with a shard for each plane, rather than (y, x).
    """

    folder: Path
    shape: tuple[int, int]
    chunk_px: int
    shard_px: int
    zarr_format: int
    is_stack: bool

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of shards."""
        return math.ceil(self.shape[0] / self.shard_px), math.ceil(self.shape[1] / self.shard_px)

    def box(self, row: int, column: int) -> Box:
        """Return the pixels of the level that a shard holds."""
        y0, x0 = row * self.shard_px, column * self.shard_px
        return Box(y0, x0, min(y0 + self.shard_px, self.shape[0]), min(x0 + self.shard_px, self.shape[1]))

    def write(self, z: int, row: int, column: int, labels: Labels) -> None:
        """Write the (y, x) uint32 labels of a shard; chunks, files and folders without labels are left out."""
        encoded = list(self._encode(labels))
        if not any(encoded):
            return
        across = self.shard_px // self.chunk_px
        if self.zarr_format == 3:
            self._save(f"c/{self._plane(z)}{row}/{column}", _shard_of(encoded))
            return
        for i, chunk in enumerate(encoded):
            if chunk:
                self._save(f"{self._plane(z)}{row * across + i // across}/{column * across + i % across}", chunk)

    def _plane(self, z: int) -> str:
        return f"{z}/" if self.is_stack else ""

    def _save(self, key: str, content: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def _encode(self, labels: Labels) -> Iterator[bytes]:
        """Yield the chunks of a shard row by row, compressed; empty bytes for those without labels."""
        side = self.chunk_px
        whole = np.zeros((side, side), "<u4")
        for y in range(0, self.shard_px, side):
            for x in range(0, self.shard_px, side):
                chunk = labels[y : y + side, x : x + side]
                if not chunk.any():
                    yield b""
                    continue
                if chunk.shape != whole.shape:
                    whole[:] = 0
                whole[: chunk.shape[0], : chunk.shape[1]] = chunk
                yield _ZSTD.encode(whole)


def _shard_of(chunks: list[bytes]) -> bytes:
    """Return chunks followed by their index: offset and length of each, little-endian, and its CRC32C."""
    index, start = [], 0
    for chunk in chunks:
        index += [start, len(chunk)] if chunk else [_ABSENT, _ABSENT]
        start += len(chunk)
    packed = struct.pack(f"<{len(index)}Q", *index)
    return b"".join([*chunks, packed, struct.pack("<I", google_crc32c.value(packed))])
