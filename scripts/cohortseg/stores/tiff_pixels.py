"""Pixels of one TIFF page, box by box: only the bytes that a box touches are read and decoded."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.segment_cache import SegmentCache

Decoder = Callable[[bytes, int], NDArray[Any]]
"""(encoded bytes, segment index) -> (depth, y, x, sample) pixels, smaller than a segment at the image's edge."""


@dataclass(frozen=True)
class OpenFile:
    """An open file; reading at a position shares no cursor, so that threads need no lock."""

    path: Path
    descriptor: int
    size_bytes: int

    @classmethod
    def open(cls, path: Path) -> "OpenFile":
        """Open `path` for reading."""
        descriptor = os.open(path, os.O_RDONLY)
        return cls(path, descriptor, os.fstat(descriptor).st_size)

    def close(self) -> None:
        """Release the file."""
        os.close(self.descriptor)

    def check(self, offset: int, n_bytes: int, what: str) -> None:
        """Raise ImageError where a stretch reaches beyond the end of the file."""
        if offset < 0 or n_bytes < 0 or offset + n_bytes > self.size_bytes:
            raise ImageError(
                f"{self.path.name} is truncated: {what} ends at byte {offset + n_bytes}, the file at {self.size_bytes}",
                "expected a complete TIFF file",
                "Copy or export the image again.",
            )

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Read a stretch; several calls where the system returns less than asked for."""
        parts = []
        while n_bytes > 0:
            part = os.pread(self.descriptor, n_bytes, offset)
            if not part:
                self.check(offset, n_bytes, "a segment")
                raise ImageError(
                    f"{self.path.name} became shorter while it was read", "expected a file at rest", "Run again."
                )
            parts.append(part)
            offset, n_bytes = offset + len(part), n_bytes - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class PixelPlane(ABC):
    """A (y, x, sample) block of pixels in a file."""

    @abstractmethod
    def check(self) -> None:
        """Raise ImageError where the plane's data reaches beyond the end of its file."""

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Return (y, x, sample) pixels of a box within the plane, of the file's dtype, read-only or owned."""


@dataclass(frozen=True)
class RawPlane(PixelPlane):
    """Uncompressed pixels in one stretch of a file, in (y, x, sample) order."""

    file: OpenFile
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def check(self) -> None:
        """See PixelPlane."""
        self.file.check(self.offset, math.prod(self.shape) * self.dtype.itemsize, "its pixel data")

    def read(self, box: Box) -> NDArray[Any]:
        """Read whole rows at once where the box is as wide as the image, else the box's part of each row."""
        _, width, samples = self.shape
        pixel_bytes = samples * self.dtype.itemsize
        rows_together = box.height if box.width == width else 1
        stretch = rows_together * box.width * pixel_bytes
        data = b"".join(
            self.file.read(self.offset + (y * width + box.x0) * pixel_bytes, stretch)
            for y in range(box.y0, box.y1, rows_together)
        )
        return np.frombuffer(data, self.dtype).reshape(box.height, box.width, samples)


@dataclass(frozen=True)
class SegmentGrid:
    """Where the tiles or strips of a page lie: `shape` is (depth, y, x) of the page, `segment` that of a segment."""

    shape: tuple[int, int, int]
    segment: tuple[int, int, int]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Segments along (depth, y, x)."""
        n_depth, n_y, n_x = (math.ceil(n / step) for n, step in zip(self.shape, self.segment, strict=True))
        return n_depth, n_y, n_x

    def indices(self, separate: int, depth: int) -> range:
        """Return the indices of all segments of one separate sample at one depth, in raster order."""
        n_depth, n_y, n_x = self.counts
        first = (separate * n_depth + depth // self.segment[0]) * n_y * n_x
        return range(first, first + n_y * n_x)

    def touched(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Yield the raster position and the place of each segment that a box touches."""
        _, step_y, step_x = self.segment
        for i in range(box.y0 // step_y, math.ceil(box.y1 / step_y)):
            for j in range(box.x0 // step_x, math.ceil(box.x1 / step_x)):
                yield i * self.counts[2] + j, Box(i * step_y, j * step_x, (i + 1) * step_y, (j + 1) * step_x)


@dataclass(frozen=True)
class SegmentedPlane(PixelPlane):
    """Tiles or strips, decoded one by one. A segment of no bytes is sparse and holds `fill`."""

    file: OpenFile
    grid: SegmentGrid
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    separate: int
    depth: int
    samples: int
    dtype: np.dtype[Any]
    fill: float
    decode: Decoder
    cache: SegmentCache

    def check(self) -> None:
        """See PixelPlane."""
        wanted = self.grid.indices(self.separate, self.depth)
        if wanted.stop > min(len(self.offsets), len(self.counts)):
            raise ImageError(
                f"{self.file.path.name} lists {min(len(self.offsets), len(self.counts))} segments",
                f"expected {wanted.stop} or more for an image of shape {self.grid.shape[1:]}",
                "Copy or export the image again.",
            )
        offsets, counts = self.offsets[wanted.start : wanted.stop], self.counts[wanted.start : wanted.stop]
        last = int(np.argmax(np.where(counts > 0, offsets + counts, 0)))
        if counts[last] > 0:
            self.file.check(int(offsets[last]), int(counts[last]), f"segment {wanted.start + last}")

    def read(self, box: Box) -> NDArray[Any]:
        """Decode the segments that the box touches, or take them from the cache."""
        first = self.grid.indices(self.separate, self.depth).start
        pixels = np.empty((*box.shape, self.samples), self.dtype)
        for position, place in self.grid.touched(box):
            index = first + position
            common = box.intersection(place)
            target = pixels[common.shifted(-box.y0, -box.x0).slices]
            if self.counts[index] == 0:
                target[...] = self.fill
                continue
            key = self.file.path, int(self.offsets[index]), index
            segment = self.cache.get(key, partial(self._load, index))
            found = segment[self.depth % self.grid.segment[0]][common.shifted(-place.y0, -place.x0).slices]
            if found.shape != target.shape:
                raise self._damaged(index, f"it holds {segment.shape[1:3]} pixels")
            target[...] = found
        return pixels

    def _load(self, index: int) -> NDArray[Any]:
        offset, count = int(self.offsets[index]), int(self.counts[index])
        self.file.check(offset, count, f"segment {index}")
        data = self.file.read(offset, count)
        try:
            return self.decode(data, index)
        except Exception as error:  # each codec has errors of its own; all mean that the data is damaged
            raise self._damaged(index, str(error) or type(error).__name__) from error

    def _damaged(self, index: int, cause: str) -> ImageError:
        return ImageError(
            f"segment {index} of {self.file.path.name} cannot be decoded: {cause}",
            "expected undamaged image data",
            "Copy or export the image again.",
        )
