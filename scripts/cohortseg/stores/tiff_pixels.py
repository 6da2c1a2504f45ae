"""Pixels of one TIFF page, box by box: only the bytes that a box touches are read and decoded."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.bounds import check_expansion
from cohortseg.stores.byte_files import ByteFile
from cohortseg.stores.segment_cache import SegmentCache

SPLIT_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Native pixels that OpenCV separates into samples."""

Decoder = Callable[[bytes, int], NDArray[Any]]
"""(encoded bytes, segment index) -> (depth, y, x, sample) pixels, smaller than a segment at the image's edge."""


class PixelPlane(ABC):
    """A (y, x, sample) block of pixels in a file."""

    @abstractmethod
    def check(self) -> None:
        """Raise ImageError where the plane's data reaches beyond the end of its file."""

    def decoded_bytes(self, box: Box) -> int:
        """Return the size of all that is decoded for a box."""
        return 0

    @abstractmethod
    def read(self, box: Box, targets: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Write samples of a box within the plane, each into a (y, x) array of the box's shape."""


@dataclass(frozen=True)
class RawPlane(PixelPlane):
    """Uncompressed pixels in one stretch of a file, in (y, x, sample) order."""

    file: ByteFile
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def check(self) -> None:
        """See PixelPlane."""
        self.file.check(self.offset, math.prod(self.shape) * self.dtype.itemsize, "its pixel data")

    def read(self, box: Box, targets: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Read whole rows at once where the box is as wide as the image, else the box's part of each row."""
        _, width, samples = self.shape
        pixel_bytes = samples * self.dtype.itemsize
        rows_together = box.height if box.width == width else 1
        stretch = rows_together * box.width * pixel_bytes
        data = b"".join(
            self.file.read(self.offset + (y * width + box.x0) * pixel_bytes, stretch)
            for y in range(box.y0, box.y1, rows_together)
        )
        pixels = np.frombuffer(data, self.dtype).reshape(box.height, box.width, samples)
        _spread(pixels, [(sample, target) for sample, target in targets])


@dataclass(frozen=True)
class SegmentGrid:
    """Where the tiles or strips of a page lie: `shape` is (depth, y, x) of the page, `segment` that of a segment."""

    shape: tuple[int, int, int]
    segment: tuple[int, int, int]

    @cached_property
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

    file: ByteFile
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

    def decoded_bytes(self, box: Box) -> int:
        """See PixelPlane."""
        depth, height, width = self.grid.segment
        n_rows = -(-box.y1 // height) - box.y0 // height
        n_columns = -(-box.x1 // width) - box.x0 // width
        return n_rows * n_columns * depth * height * width * self.samples * self.dtype.itemsize

    def read(self, box: Box, targets: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Decode the segments that the box touches, or take them from the cache."""
        first = self.grid.indices(self.separate, self.depth).start
        for position, place in self.grid.touched(box):
            index = first + position
            common = box.intersection(place)
            into = common.shifted(-box.y0, -box.x0).slices
            if self.counts[index] == 0:
                for _, target in targets:
                    target[into] = self.fill
                continue
            key = self.file, int(self.offsets[index]), index
            segment = self.cache.get(key, partial(self._load, index))
            found = segment[self.depth % self.grid.segment[0]][common.shifted(-place.y0, -place.x0).slices]
            if found.shape != (*common.shape, self.samples):
                raise self._damaged(index, f"it holds {segment.shape[1:3]} pixels")
            _spread(found, [(sample, target[into]) for sample, target in targets])

    def _load(self, index: int) -> NDArray[Any]:
        offset, count = int(self.offsets[index]), int(self.counts[index])
        self.file.check(offset, count, f"segment {index}")
        decoded_bytes = math.prod(self.grid.segment) * self.samples * self.dtype.itemsize
        data = self.file.read(offset, count)
        try:
            check_expansion(count, decoded_bytes)
            return self.decode(data, index)
        except Exception as error:  # each codec has errors of its own; all mean that the data is damaged
            raise self._damaged(index, str(error) or type(error).__name__) from error

    def _damaged(self, index: int, cause: str) -> ImageError:
        return ImageError(
            f"segment {index} of {self.file.path.name} cannot be decoded: {cause}",
            "expected undamaged image data",
            "Copy or export the image again.",
        )


def _spread(pixels: NDArray[Any], targets: Sequence[tuple[int, NDArray[Any]]]) -> None:
    """Copy samples of (y, x, sample) pixels into one (y, x) array each."""
    if pixels.shape[-1] > 1 and 2 * len(targets) > pixels.shape[-1] and pixels.dtype in SPLIT_DTYPES:
        # faster than copies of every third value, and than into the targets at once, whose rows lie apart
        samples = cv2.split(pixels)
        for sample, target in targets:
            target[...] = samples[sample]
        return
    for sample, target in targets:
        target[...] = pixels[..., sample]
