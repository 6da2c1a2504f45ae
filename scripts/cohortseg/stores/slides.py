"""Whole slides that are no TIFF files, through OpenSlide: MIRAX (mrxs) and the like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.axes import check_index
from cohortseg.stores.source import ImageFacts, ImageSource, PageSelection
from cohortseg.stores.units import square_pixel_um

SLIDE_SUFFIXES = (".mrxs", ".vms", ".vmu")
"""Of formats that OpenSlide alone reads here; what is TIFF is read as such, unless image_type says slide."""

CACHE_BYTES = 128 * 2**20
"""Decoded tiles that OpenSlide keeps for one slide."""


class SlideSource(ImageSource):
    """A level of a slide, as R, G, B; see ImageSource. Where nothing was scanned, the slide's background shows."""

    def __init__(self, facts: ImageFacts, slide: Any, level: int) -> None:
        super().__init__(facts)
        self._slide = slide
        self._level = level
        colour = slide.properties.get("openslide.background-color", "ffffff")
        self._background = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], np.uint16)

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        downsample = self._slide.level_downsamples[self._level]
        corner = (round(box.x0 * downsample), round(box.y0 * downsample))
        try:
            rgba = np.asarray(self._slide.read_region(corner, self._level, (box.width, box.height)), np.uint16)
        except Exception as error:  # OpenSlide's own, or of Pillow; all mean that the data is damaged
            raise _unreadable(str(self.path), error) from error
        opacity = rgba[..., 3:]
        rgb = (rgba[..., :3] * opacity + self._background * (255 - opacity) + 127) // 255
        return np.ascontiguousarray(np.moveaxis(rgb.astype(np.uint8), -1, 0)[list(channels)])

    def close(self) -> None:
        """See ImageSource."""
        self._slide.close()


def open_slide(path: Path, selection: PageSelection) -> SlideSource:
    """Open one level of a slide.

    Raises
    ------
    MissingExtraError
        OpenSlide is not installed.
    ImageError
        The file is damaged or of a format that OpenSlide does not know, or the series, level or plane is not there.
    """
    try:
        import openslide
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} cannot be read: {error}",
            "expected the library OpenSlide",
            "Install it: pip install 'cohortseg[microscopes]'.",
        ) from error
    try:
        slide = openslide.OpenSlide(path)
    except Exception as error:  # its own errors, and those of the system
        raise _unreadable(path.name, error) from error
    try:
        slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        return SlideSource(_facts(path, slide, selection), slide, selection.level)
    except BaseException:
        slide.close()
        raise


def _facts(path: Path, slide: Any, selection: PageSelection) -> ImageFacts:
    check_index(path.name, "series", selection.series, ["the slide"])
    check_index(path.name, "plane", selection.plane, ["the slide"])
    check_index(path.name, "level", selection.level, [f"{h} x {w} px" for w, h in slide.level_dimensions])
    width, height = slide.level_dimensions[selection.level]
    sizes = [slide.properties.get(f"openslide.mpp-{axis}") for axis in "yx"]
    y, x = (None if size is None else float(size) * slide.level_downsamples[selection.level] for size in sizes)
    return ImageFacts(
        path=path,
        shape=(height, width),
        dtype=np.dtype(np.uint8),
        channels=("R", "G", "B"),
        is_rgb=True,
        pixel_size_um=square_pixel_um(y, x, "um"),
        n_planes=1,
        n_levels=slide.level_count,
        format=f"slide ({slide.properties.get('openslide.vendor', 'unknown vendor')})",
    )


def _unreadable(name: str, error: Exception) -> ImageError:
    return ImageError(
        f"{name} cannot be read as a slide: {str(error) or type(error).__name__}",
        "expected a complete slide of a format that OpenSlide knows, with all files that belong to it",
        "Copy all its files again, or convert it to OME-TIFF.",
    )
