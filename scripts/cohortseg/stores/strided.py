"""Uncompressed pixels that lie in a file at even distances, as ND2 and LIF hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError
from cohortseg.stores.byte_files import ByteFile
from cohortseg.stores.source import ImageFacts, ImageSource


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of a plane lie.

    Attributes
    ----------
    shape
        (y, x) in pixels.
    row_bytes, pixel_bytes
        Distance from a row to the next, which may be padded, and from a pixel to the next in its row, which other
        channels may lie between.
    dtype
        Of a stored sample.
    """

    shape: tuple[int, int]
    row_bytes: int
    pixel_bytes: int
    dtype: np.dtype[Any]

    def span_bytes(self, box_shape: tuple[int, int]) -> int:
        """Return how far the first byte of a box's first sample is from the end of its last sample."""
        height, width = box_shape
        return (height - 1) * self.row_bytes + (width - 1) * self.pixel_bytes + self.dtype.itemsize

    def check(self, name: str) -> None:
        """Raise ImageError where pixels would overlap, or rows are not stretches of their own."""
        height, width = self.shape
        row = (width - 1) * self.pixel_bytes + self.dtype.itemsize
        if (width > 1 and self.pixel_bytes < self.dtype.itemsize) or (height > 1 and self.row_bytes < row):
            raise ImageError(
                f"{name} says that its pixels are {self.pixel_bytes} bytes and its rows {self.row_bytes} bytes apart",
                f"expected at least {self.dtype.itemsize} and {row}: {width} pixels of {self.dtype} one after another",
                "Copy or export the image again.",
            )


class StridedSource(ImageSource):
    """A plane of which each channel is a grid of samples; see ImageSource. It closes its file.

    Parameters
    ----------
    places
        For each channel the byte at which the pixels begin that it shares with others, and that of its sample within
        the pixel.
    """

    def __init__(self, facts: ImageFacts, file: ByteFile, grid: PixelGrid, places: Sequence[tuple[int, int]]) -> None:
        super().__init__(facts)
        self._file = file
        self._grid = grid
        self._places = places
        grid.check(self.path.name)
        for start, sample in places:
            file.check(start + sample, grid.span_bytes(grid.shape), "its pixel data")

    @property
    def decoded_bytes(self) -> int:
        """See ImageSource; of compressed files."""
        return self._file.decoded_bytes

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        pixels = np.empty((len(channels), *box.shape), self.dtype)
        together: dict[int, list[tuple[int, NDArray[Any]]]] = {}
        for target, channel in zip(pixels, channels, strict=True):
            start, sample = self._places[channel]
            together.setdefault(start, []).append((sample, target))
        for start, targets in together.items():  # samples that lie interleaved are read once
            self._read_pixels(start, box, targets)
        return pixels

    def _read_pixels(self, start: int, box: Box, targets: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Read whole rows at once where the box is as wide as the image, else the box's part of each row."""
        grid = self._grid
        first, last = min(sample for sample, _ in targets), max(sample for sample, _ in targets)
        # rows may also lie far apart, those of other planes between them
        adjoin = box.width == grid.shape[1] and grid.row_bytes < 2 * box.width * grid.pixel_bytes
        at_once = box.height if adjoin else 1
        n_bytes = grid.span_bytes((at_once, box.width)) + last - first
        corner = start + first + box.x0 * grid.pixel_bytes
        rows = range(box.y0, box.y1, at_once)
        data = b"".join(self._file.read(corner + y * grid.row_bytes, n_bytes) for y in rows)
        strides = (grid.row_bytes if at_once > 1 else n_bytes, grid.pixel_bytes)
        for sample, target in targets:
            target[...] = np.ndarray(box.shape, grid.dtype, data, sample - first, strides)

    def close(self) -> None:
        """See ImageSource."""
        self._file.close()
