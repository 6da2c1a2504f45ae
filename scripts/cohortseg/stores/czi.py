"""Zeiss CZI, through pylibCZIrw."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.axes import AxisLayout, check_dtype, check_index, resolve_axes
from cohortseg.stores.source import ImageFacts, ImageSource, PageSelection
from cohortseg.stores.units import length_um, square_pixel_um

CZI_SIGNATURE = b"ZISRAWFILE"

CACHE_BYTES = 128 * 2**20
"""Decoded tiles that the library keeps for one image."""

DTYPES = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}

UM_PER_M = 1e6


class CziSource(ImageSource):
    """A plane of a CZI file; see ImageSource. Where no tile lies, it is 0."""

    def __init__(
        self,
        facts: ImageFacts,
        document: Any,
        corner: tuple[int, int],
        planes: Sequence[dict[str, int]],
        closing: ExitStack,
    ) -> None:
        super().__init__(facts)
        self._document = document
        self._corner = corner
        self._planes = planes
        self._closing = closing

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        roi = (self._corner[1] + box.x0, self._corner[0] + box.y0, box.width, box.height)
        pixels = np.empty((len(channels), *box.shape), self.dtype)
        try:
            if self.is_rgb:
                bgr = self._document.read(roi=roi, plane=self._planes[0])
                pixels[:] = np.moveaxis(bgr, -1, 0)[[2 - channel for channel in channels]]
            else:
                for target, channel in zip(pixels, channels, strict=True):
                    target[:] = self._document.read(roi=roi, plane=self._planes[channel])[..., 0]
        except Exception as error:  # the library raises RuntimeError for whatever is wrong
            raise _unreadable(self.path.name, error) from error
        return pixels

    def close(self) -> None:
        """See ImageSource."""
        self._closing.close()


def open_czi(path: Path, selection: PageSelection) -> CziSource:
    """Open one plane of a CZI file; its series are its scenes. Levels of its pyramid are not offered.

    Raises
    ------
    MissingExtraError
        pylibCZIrw is not installed.
    ImageError
        The file is damaged, of an unsupported pixel type, or the series, level or plane is not there.
    """
    try:
        from pylibCZIrw import czi
    except ImportError as error:
        raise MissingExtraError(
            f"{path.name} cannot be read: {error}",
            "expected the library pylibCZIrw",
            "Install it: pip install 'cohortseg[microscopes]'.",
        ) from error
    cache = czi.CacheOptions(type=czi.CacheType.Standard, max_memory_usage=CACHE_BYTES)
    with ExitStack() as closing:
        try:
            document = closing.enter_context(czi.open_czi(str(path), cache_options=cache))
            return _czi_source(path, document, selection, closing)
        except ImageError:
            raise
        except Exception as error:  # the library raises RuntimeError for whatever is wrong
            raise _unreadable(path.name, error) from error


def _czi_source(path: Path, document: Any, selection: PageSelection, closing: ExitStack) -> CziSource:
    scenes = document.scenes_bounding_rectangle or {0: document.total_bounding_rectangle}
    places = [scenes[scene] for scene in sorted(scenes)]
    check_index(path.name, "series", selection.series, [f"scene of {place.h} x {place.w} px" for place in places])
    check_index(path.name, "level", selection.level, ["full resolution"])
    place = places[selection.series]
    counts = {axis: end for axis, (_, end) in document.total_bounding_box.items() if axis not in "XY" and end > 1}
    layout = resolve_axes(path.name, "".join(counts) + "YX", (*counts.values(), place.h, place.w), selection)
    types = document.pixel_types
    if len(set(types.values())) != 1 or types[0] not in DTYPES:
        raise ImageError(
            f"{path.name} has channels of the types {', '.join(map(str, types.values()))}",
            f"expected one of {', '.join(DTYPES)} for all",
            "Export it as OME-TIFF.",
        )
    is_rgb = types[0].startswith("Bgr") and layout.n_channels == 1
    planes = [_plane(layout, selection.plane, channel) for channel in range(layout.n_channels)]
    sizes_um = _sizes_um(document.metadata)
    facts = ImageFacts(
        path=path,
        shape=layout.image_shape,
        dtype=check_dtype(path.name, np.dtype(DTYPES[types[0]])),
        channels=("R", "G", "B") if is_rgb else _names(document.metadata, layout.n_channels),
        is_rgb=is_rgb,
        pixel_size_um=square_pixel_um(sizes_um.get("Y"), sizes_um.get("X"), "um"),
        n_planes=layout.n_planes,
        format="CZI",
        z_step_um=length_um(sizes_um.get("Z"), "um"),
        z_place=layout.z_place(selection.plane),
    )
    return CziSource(facts, document, (place.y, place.x), planes, closing.pop_all())


def _plane(layout: AxisLayout, plane: int, channel: int) -> dict[str, int]:
    index = dict(zip(layout.axes, layout.corner(plane, channel), strict=True))
    return {"C": 0} | {axis: i for axis, i in index.items() if axis not in "YX"}


def _names(metadata: Mapping[str, Any], n_channels: int) -> tuple[str, ...]:
    found = _listed(metadata, "ImageDocument.Metadata.Information.Image.Dimensions.Channels.Channel")
    names = [str(each.get("@Name") or i) for i, each in enumerate(found)]
    return tuple(names) if len(names) == n_channels else tuple(map(str, range(n_channels)))


def _sizes_um(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return the distance of neighbours along X, Y and Z, of those that are known."""
    return {
        str(each.get("@Id")): float(each["Value"]) * UM_PER_M
        for each in _listed(metadata, "ImageDocument.Metadata.Scaling.Items.Distance")
        if each.get("Value")
    }


def _listed(metadata: Any, path: str) -> list[Mapping[str, Any]]:
    """Return the elements at a path of parsed XML, where one is no list, and none is nothing."""
    for key in path.split("."):
        metadata = metadata.get(key) if isinstance(metadata, Mapping) else None
    found = metadata if isinstance(metadata, list) else [metadata]
    return [each for each in found if isinstance(each, Mapping)]


def _unreadable(name: str, error: Exception) -> ImageError:
    return ImageError(
        f"{name} cannot be read as CZI: {str(error) or type(error).__name__}",
        "expected a complete CZI file",
        "Copy or export the image again.",
    )
