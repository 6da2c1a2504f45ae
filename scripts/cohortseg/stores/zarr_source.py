"""A plane of a zarr array, read chunk by chunk."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError
from cohortseg.stores.axes import AxisLayout
from cohortseg.stores.layout_notes import note_chunks
from cohortseg.stores.segment_cache import SegmentCache
from cohortseg.stores.source import ImageFacts, ImageSource
from cohortseg.stores.zarr_chunks import ChunkReader

CACHE_BYTES = 64 * 2**20
"""Decoded chunks kept for one image, ..."""

CACHE_LIMIT_BYTES = 256 * 2**20
"""... and at most, for images so wide that a row of boxes shares more than that with the next."""


class ZarrSource(ImageSource):
    """A plane of a zarr array; see ImageSource. Chunks that are absent hold the fill value."""

    def __init__(
        self, facts: ImageFacts, array: "zarr.Array[Any]", chunks: ChunkReader | None, layout: AxisLayout, plane: int
    ) -> None:
        super().__init__(facts)
        self._array = array
        self._chunks = chunks
        self._layout = layout
        self._plane = plane
        self._cache = SegmentCache(CACHE_BYTES)
        sizes = self._sizes = dict(zip(layout.axes, array.chunks, strict=True))
        self._chunk_shape = sizes["Y"], sizes["X"]
        self._corners: dict[int, dict[str, int]] = {}  # of each channel, by axis
        in_order = layout.axes.index("Y") < layout.axes.index("X")
        self._is_plane = in_order and math.prod(array.chunks) == sizes["Y"] * sizes["X"]
        self._chunk_channels = sizes.get("C", 1)
        chunk_px = sizes["Y"] * sizes["X"]
        item_bytes = self.dtype.itemsize
        note_chunks(
            self.path,
            math.prod(self.shape) * item_bytes,
            math.prod(array.chunks) * item_bytes,
            1 if facts.is_rgb else math.prod(array.chunks) // chunk_px,
        )

    @property
    def decoded_bytes(self) -> int:
        """See ImageSource."""
        return self._cache.decoded_bytes

    def use_scratch(self, folder: Path, limit_bytes: int, memory_bytes: int | None = None) -> None:
        """See ImageSource."""
        self._cache.use_scratch(folder, limit_bytes, memory_bytes)

    def close(self) -> None:
        """See ImageSource."""
        self._cache.close()

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        pixels = np.empty((len(channels), *box.shape), self.dtype)
        together: dict[int, list[int]] = {}  # positions of the channels that share chunks, by place along the axis
        for position, channel in enumerate(channels):
            together.setdefault(channel // self._chunk_channels, []).append(position)
        height, width = self._chunk_shape
        rows, columns = range(box.y0 // height, -(-box.y1 // height)), range(box.x0 // width, -(-box.x1 // width))
        row_bytes = len(rows) * height * len(set(channels)) * self.dtype.itemsize
        self._cache.make_room(row_bytes * len(columns) * width, row_bytes * self.shape[1], CACHE_LIMIT_BYTES)
        for positions in together.values():
            wanted = sorted({channels[position] for position in positions})
            for i, j in product(rows, columns):
                place = Box(i * height, j * width, (i + 1) * height, (j + 1) * width)
                found = self._cache.get((*wanted, i, j), partial(self._decoded, wanted, i, j))
                common = box.intersection(place)
                source, target = common.shifted(-place.y0, -place.x0), common.shifted(-box.y0, -box.x0)
                for position in positions:
                    pixels[(position, *target.slices)] = found[(wanted.index(channels[position]), *source.slices)]
        return pixels

    def _decoded(self, channels: list[int], row: int, column: int) -> Image:
        """Return channels of one place in the grid of chunks, all of one chunk; smaller at the image's end or whole."""
        try:
            return self._by_zarr(channels, row, column) if self._chunks is None else self._direct(channels, row, column)
        except Exception as error:  # each codec has errors of its own; all mean that the chunk is damaged
            if isinstance(error, ImageError):
                raise
            height, width = self._chunk_shape
            raise ImageError(
                f"{self.path.name} cannot be read in rows {row * height} to {(row + 1) * height}, columns "
                f"{column * width} to {(column + 1) * width}: {str(error) or type(error).__name__}",
                "expected undamaged chunks",
                "Copy or export the image again.",
            ) from error

    def _direct(self, channels: list[int], row: int, column: int) -> Image:
        assert self._chunks is not None
        axes, sizes = self._layout.axes, self._sizes
        if channels[0] not in self._corners:
            self._corners[channels[0]] = dict(zip(axes, self._layout.corner(self._plane, channels[0]), strict=True))
        first = self._corners[channels[0]]
        steps = {"Y": row, "X": column}
        chunk = self._chunks.chunk(tuple(steps[axis] if axis in steps else first[axis] // sizes[axis] for axis in axes))
        if chunk is None:
            shape = (len(channels), *self._chunk_shape)
            return np.broadcast_to(np.asarray(self._array.fill_value, self.dtype), shape)
        if self._is_plane:  # a single channel, which needs no copy
            return np.ascontiguousarray(chunk.reshape(1, *self._chunk_shape), dtype=self.dtype)
        within: dict[str, Any] = {"Y": slice(None), "X": slice(None)}
        within["C"] = [channel % self._chunk_channels for channel in channels]
        return self._ordered(chunk[tuple(within.get(axis, first[axis] % sizes[axis]) for axis in axes)])

    def _by_zarr(self, channels: list[int], row: int, column: int) -> Image:
        corner = self._layout.corner(self._plane, 0)
        height, width = self._chunk_shape
        selected: dict[str, Any] = {
            "Y": slice(row * height, (row + 1) * height),
            "X": slice(column * width, (column + 1) * width),
            "C": channels,
        }
        index = tuple(selected.get(axis, first) for axis, first in zip(self._layout.axes, corner, strict=True))
        return self._ordered(np.asarray(self._array.oindex[index]))

    def _ordered(self, pixels: NDArray[Any]) -> Image:
        axes = "".join(axis for axis in self._layout.axes if axis in "CYX")
        if "C" not in axes:
            axes, pixels = "C" + axes, pixels[np.newaxis]
        return np.ascontiguousarray(pixels.transpose([axes.index(axis) for axis in "CYX"]), dtype=self.dtype)
