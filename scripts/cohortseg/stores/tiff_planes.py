"""Where the channels of a TIFF series lie in its pages and files."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from cohortseg.errors import ImageError
from cohortseg.stores.axes import AxisLayout
from cohortseg.stores.bounds import check_jpeg
from cohortseg.stores.byte_files import ByteFile, open_bytes
from cohortseg.stores.layout_notes import note_strips
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.segment_cache import SegmentCache
from cohortseg.stores.tiff_pixels import PixelPlane, RawPlane, SegmentedPlane, SegmentGrid

CACHE_BYTES = 128 * 2**20
"""Decoded tiles or strips kept for one image, ..."""

TILES_LIMIT_BYTES = 256 * 2**20
"""... and at most, for images so wide that a row of boxes shares more tiles than that with the next, ..."""

STRIPS_LIMIT_BYTES = 2**30
"""... and for those in strips: each is as wide as the image, and would be decoded again for every box of a row."""

JPEG_COMPRESSIONS = (6, 7, 33007, 34892)

Page = tifffile.TiffPage | tifffile.TiffFrame


class Corner(NamedTuple):
    """Where the pixel (0, 0) of a channel lies: page of the series, separate sample, depth, sample of the pixel."""

    page: int
    separate: int
    depth: int
    sample: int


class PlaneLocator:
    """Finds the pixels of channels of one plane in the pages of a series; opens the files they are in."""

    def __init__(self, path: Location, series: tifffile.TiffPageSeries, layout: AxisLayout) -> None:
        self.path = path
        self.series = series
        self.files: dict[Location, ByteFile] = {}
        self._layout = layout
        self._planes: dict[tuple[int, int, int], PixelPlane] = {}
        self.cache = SegmentCache(CACHE_BYTES)
        self.cache_limit_bytes = TILES_LIMIT_BYTES if series.keyframe.is_tiled else STRIPS_LIMIT_BYTES
        *_, height, width, self._samples = series.keyframe.shaped
        self._page_shape = series.keyframe.shaped
        strides = (width * self._samples, self._samples)
        aligned = layout.image_shape == (height, width) and layout.pixel_strides == strides
        # y of a channel-last array whose axes the file does not name runs over pages; one stretch if contiguous
        self._spans_pages = not aligned and layout.axes.endswith("YXC") and series.dataoffset is not None
        if self._spans_pages:
            self._page_shape = (1, 1, *layout.image_shape, layout.n_channels)
            self._samples = layout.n_channels
        elif not aligned or series.transform is not None:
            raise ImageError(
                f"{path.name} stores its {layout.axes} image of shape {layout.shape} in pages of {height} x {width}",
                "expected each page to hold whole channels",
                "Save the image as OME-TIFF with its axes named.",
            )

    def close(self) -> None:
        """Release the files."""
        for file in self.files.values():
            file.close()

    def corner(self, plane: int, channel: int) -> Corner:
        """Return where a channel of a plane begins."""
        index = self._layout.corner(plane, channel)
        flat = int(np.ravel_multi_index(index, self._layout.shape))
        page, within = divmod(flat, math.prod(self._page_shape))
        separate, depth, _, _, sample = np.unravel_index(within, self._page_shape)
        return Corner(page, int(separate), int(depth), int(sample))

    def plane(self, corner: Corner) -> PixelPlane:
        """Return the plane in which a channel lies; channels of interleaved samples share one."""
        key = corner[:3]
        if key not in self._planes:
            self._planes[key] = self._new_plane(corner)
        return self._planes[key]

    def _new_plane(self, corner: Corner) -> PixelPlane:
        keyframe, series = self.series.keyframe, self.series
        plane_shape = (*self._page_shape[2:4], self._samples)
        plane_bytes = math.prod(plane_shape) * series.dtype.itemsize
        order = (corner.separate * self._page_shape[1] + corner.depth) * plane_bytes
        stored = series.dtype.newbyteorder(keyframe.parent.byteorder)
        if series.dataoffset is not None and (self._spans_pages or len(series) <= corner.page):
            # one page describes the whole series, as ImageJ writes it beyond 4 GB
            start = series.dataoffset + corner.page * math.prod(self._page_shape) * series.dtype.itemsize
            return RawPlane(self._file(keyframe), start + order, plane_shape, stored)
        page = series[corner.page] if corner.page < len(series) else None
        if page is None:
            raise ImageError(
                f"{self.path.name} lacks page {corner.page} of {self._layout.axes} {self._layout.shape}",
                "expected every plane that its metadata lists, in this file or in the files beside it",
                "Copy all files of the image, or export it again.",
            )
        if page.is_final:
            self._check_count(page, corner.page)
            stored = stored.newbyteorder(page.parent.byteorder)
            return RawPlane(self._file(page), page.dataoffsets[0] + order, plane_shape, stored)
        return self._segmented(page, corner)

    def note_costs(self) -> None:
        """Say in the log what a layout in strips costs."""
        segmented = next((plane for plane in self._planes.values() if isinstance(plane, SegmentedPlane)), None)
        if segmented is None or self.series.keyframe.is_tiled:
            return
        _, height, width = segmented.grid.shape
        plane_bytes = height * width * segmented.samples * segmented.dtype.itemsize
        note_strips(self.path, plane_bytes, segmented.grid.segment[1], height, self.cache_limit_bytes)

    def _segmented(self, page: Page, corner: Corner) -> SegmentedPlane:
        keyframe = page.keyframe or self.series.keyframe
        _, depth, height, width, _ = keyframe.shaped
        if keyframe.is_tiled:
            segment = (keyframe.tiledepth, keyframe.tilelength, keyframe.tilewidth)
        else:
            segment = (1, min(keyframe.rowsperstrip, height), keyframe.imagewidth)
        if 0 in segment:
            found = f"{self.path.name} has tiles or strips of shape {segment}"
            raise ImageError(found, "expected at least one pixel in each", "Export the image again.")
        return SegmentedPlane(
            file=self._file(page),
            grid=SegmentGrid((depth, height, width), segment),
            offsets=np.asarray(page.dataoffsets, np.int64),
            counts=np.asarray(page.databytecounts, np.int64),
            separate=corner.separate,
            depth=corner.depth,
            samples=self._samples,
            dtype=self.series.dtype.newbyteorder("="),
            fill=keyframe.nodata,
            decode=_decoder(page, keyframe),
            cache=self.cache,
        )

    def _check_count(self, page: Page, number: int) -> None:
        n_bytes, needed = sum(page.databytecounts), page.nbytes
        if 0 < n_bytes < needed:
            raise ImageError(
                f"page {number} of {self.path.name} holds {n_bytes} bytes of pixels",
                f"expected {needed} for an image of shape {page.shape}",
                "Export the image again.",
            )

    def _file(self, page: Page) -> ByteFile:
        is_remote = isinstance(self.path, RemoteLocation)
        path = self.path if is_remote else Path(page.parent.filehandle.path)
        if path not in self.files:
            self.files[path] = open_bytes(path)
        return self.files[path]


def _decoder(page: Page, keyframe: tifffile.TiffPage) -> Callable[[bytes, int], Any]:
    decode = keyframe.decode
    tables: dict[str, Any] = {}
    if keyframe.compression in JPEG_COMPRESSIONS:
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}

    def decode_segment(data: bytes, index: int) -> Any:
        if tables:
            check_jpeg(data, keyframe.chunks)
        return decode(data, index, **tables)[0]

    return decode_segment
