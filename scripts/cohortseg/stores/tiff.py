"""TIFF in all its dialects: OME-TIFF, BigTIFF, ImageJ, Aperio SVS and other pyramids."""

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cohortseg.arrays import Box, Image
from cohortseg.errors import CohortsegError, ImageError
from cohortseg.stores.axes import RGB_DTYPES, RGB_SAMPLES, AxisLayout, check_dtype, check_index, resolve_axes
from cohortseg.stores.byte_files import ByteStream, open_bytes
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.source import ImageFacts, ImageSource, PageSelection
from cohortseg.stores.tiff_metadata import tiff_channel_names, tiff_pixel_size_um, tiff_z_step_um
from cohortseg.stores.tiff_pixels import PixelPlane
from cohortseg.stores.tiff_planes import PlaneLocator

RGB_PHOTOMETRICS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_REMOTE_READ_BYTES = 2**18
"""What is fetched at once of the tags of a remote file."""

FORMAT_NAMES = {
    "ome": "OME-TIFF",
    "imagej": "ImageJ TIFF",
    "svs": "Aperio SVS",
    "qpi": "Akoya QPTIFF",
    "ndpi": "Hamamatsu NDPI",
    "scn": "Leica SCN",
}


class TiffSource(ImageSource):
    """A plane of a TIFF file; see ImageSource."""

    def __init__(self, facts: ImageFacts, places: Sequence[tuple[PixelPlane, int]], locator: PlaneLocator) -> None:
        super().__init__(facts)
        self._places = places
        self._files = list(locator.files.values())
        self._cache, self._cache_limit_bytes = locator.cache, locator.cache_limit_bytes

    @property
    def decoded_bytes(self) -> int:
        """See ImageSource; of compressed files."""
        return self._cache.decoded_bytes

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        pixels = np.empty((len(channels), *box.shape), self.dtype)
        together: dict[int, tuple[PixelPlane, list[tuple[int, NDArray[Any]]]]] = {}
        for target, channel in zip(pixels, channels, strict=True):
            plane, sample = self._places[channel]
            together.setdefault(id(plane), (plane, []))[1].append((sample, target))
        box_bytes = sum(plane.decoded_bytes(box) for plane, _ in together.values())
        band_bytes = sum(plane.decoded_bytes(Box(box.y0, 0, box.y1, self.shape[1])) for plane, _ in together.values())
        self._cache.make_room(box_bytes, band_bytes, self._cache_limit_bytes)
        for plane, targets in together.values():  # samples that lie interleaved are read once
            plane.read(box, targets)
        return pixels

    def use_scratch(self, folder: Path, limit_bytes: int, memory_bytes: int | None = None) -> None:
        """See ImageSource."""
        self._cache.use_scratch(folder, limit_bytes, memory_bytes)

    def close(self) -> None:
        """See ImageSource."""
        self._cache.close()
        for file in self._files:
            file.close()


def open_tiff(path: Location, selection: PageSelection) -> TiffSource:
    """Open one plane of a TIFF file, checking that the data of all its channels lies within the file.

    Raises
    ------
    ImageError
        The file is damaged or truncated, or the series, level or plane is not there.
    """
    with _parsed(path) as tif:
        all_series = tif.series
        if not all_series:
            raise ImageError(f"{path.name} holds no image", "expected a TIFF page", "Export the image again.")
        check_index(path.name, "series", selection.series, [f"{s.name or 'unnamed'} {s.shape}" for s in all_series])
        series = all_series[selection.series]
        check_index(path.name, "level", selection.level, [str(level.shape) for level in series.levels])
        level = series.levels[selection.level]
        layout = resolve_axes(path.name, level.get_axes(False), level.get_shape(False), selection)
        check_dtype(path.name, level.dtype)
        locator = PlaneLocator(path, level, layout)
        try:
            return _tiff_source(tif, selection, layout, locator)
        except BaseException:
            locator.close()
            raise


@contextmanager
def _parsed(path: Location) -> Iterator[tifffile.TiffFile]:
    """Parse a file's structure; what tifffile logs as an error, and would read on after, is raised."""
    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        with _file_for_tifffile(path) as file, tifffile.TiffFile(file, name=path.name) as tif:
            tif.series  # noqa: B018 - parsed on first use
            if complaints.messages:
                raise ValueError(complaints.messages[0])
            yield tif
    except (CohortsegError, FileNotFoundError):
        raise
    except Exception as error:  # tifffile raises whatever its unpacking of damaged tags runs into
        raise ImageError(
            f"{path.name} cannot be read as TIFF: {str(error) or type(error).__name__}",
            "expected a complete TIFF file",
            "Copy or export the image again.",
        ) from error
    finally:
        logger.removeHandler(complaints)


@contextmanager
def _file_for_tifffile(path: Location) -> Iterator[Any]:
    if not isinstance(path, RemoteLocation):
        yield path
        return
    with closing(open_bytes(path)) as file, io.BufferedReader(ByteStream(file), _REMOTE_READ_BYTES) as stream:
        yield stream


class _Complaints(logging.Handler):
    """Collects this thread's errors; a tag of an odd type does not matter, one that lies beyond the file does."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        is_odd_tag = "TiffTag.fromfile" in message and "offset" not in message
        if record.thread == self._thread and not is_odd_tag:
            self.messages.append(message)


def _tiff_source(
    tif: tifffile.TiffFile, selection: PageSelection, layout: AxisLayout, locator: PlaneLocator
) -> TiffSource:
    series = tif.series[selection.series]
    keyframe = locator.series.keyframe
    dtype = check_dtype(locator.path.name, locator.series.dtype)
    is_rgb = _is_rgb(layout, dtype, keyframe.photometric)
    n_channels = 3 if is_rgb else layout.n_channels  # a fourth sample is opacity
    corners = [locator.corner(selection.plane, channel) for channel in range(n_channels)]
    places = [(locator.plane(corner), corner.sample) for corner in corners]
    for plane in {id(plane): plane for plane, _ in places}.values():
        plane.check()
    names = tiff_channel_names(tif, series, selection.series, [corner.page for corner in corners])
    full_size_um = tiff_pixel_size_um(tif, series, selection.series)
    shrink = series.keyframe.imagewidth / keyframe.imagewidth
    facts = ImageFacts(
        path=locator.path,
        shape=layout.image_shape,
        dtype=dtype,
        channels=("R", "G", "B") if is_rgb else tuple(names or map(str, range(n_channels))),
        is_rgb=is_rgb,
        pixel_size_um=None if full_size_um is None else full_size_um * shrink,
        n_planes=layout.n_planes,
        format=FORMAT_NAMES.get(series.kind, "TIFF"),
        z_step_um=tiff_z_step_um(tif, series, selection.series),
        z_place=layout.z_place(selection.plane),
        n_levels=len(series.levels),
    )
    locator.note_costs()
    return TiffSource(facts, places, locator)


def _is_rgb(layout: AxisLayout, dtype: np.dtype[Any], photometric: int) -> bool:
    """Tell a colour picture from a stack of stains that its writer called RGB for having three or four planes.

    Interleaved samples are a picture; separate planes are one only where there are three of 8 bits.
    """
    if photometric not in RGB_PHOTOMETRICS or "S" not in layout.axes:
        return False
    n_samples = layout.shape[layout.axes.index("S")]
    is_interleaved = layout.axes.endswith("S")
    if n_samples != layout.n_channels or n_samples not in RGB_SAMPLES or dtype not in RGB_DTYPES:
        return False
    return is_interleaved or (n_samples == 3 and dtype == np.uint8)
