"""What every opened image looks like, whatever its file format."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from cohortseg.arrays import Box, Image
from cohortseg.errors import ChannelError, ImageError
from cohortseg.settings import SegmentSettings
from cohortseg.stores.location import Location

SIZE_TOLERANCE = 0.05
"""A pixel size or z step that the settings give may differ by this share from the file's: both are rounded."""


@dataclass(frozen=True)
class PageSelection:
    """Which plane of a file is the image.

    Parameters
    ----------
    image_type
        "tiff", "zarr", "cv2", "slide", "czi", "nd2" or "lif"; None decides by the file's content, then its suffix.
    series
        Image of a file or plate that holds several.
    level
        Level of its pyramid; 0 is full resolution.
    plane
        Index along the flattened axes that are neither y, x nor channel (time, then z, as the file orders them).
    channel_last
        The last axis is the channel, for files that do not name their axes.
    pixel_size_um
        Side of a pixel in micrometres; None for what the file says.
    override_pixel_size
        `pixel_size_um` holds whatever the file says; else a contradiction is an error.
    """

    image_type: str | None
    series: int
    level: int
    plane: int
    channel_last: bool
    pixel_size_um: float | None
    override_pixel_size: bool

    @classmethod
    def of(cls, settings: SegmentSettings) -> Self:
        """Return which plane of a file the settings of its segmentation name."""
        return cls(
            image_type=settings.image_type,
            series=settings.series,
            level=settings.level,
            plane=settings.plane or 0,
            channel_last=settings.channel_last,
            pixel_size_um=settings.pixel_size_um,
            override_pixel_size=settings.override_pixel_size,
        )


FIRST_PAGE = PageSelection(
    image_type=None,
    series=0,
    level=0,
    plane=0,
    channel_last=False,
    pixel_size_um=None,
    override_pixel_size=False,
)
"""The first plane at full resolution: what a file with a single image holds."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image before any pixel is read."""

    path: Location
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    channels: tuple[str, ...]
    is_rgb: bool
    pixel_size_um: float | None
    n_planes: int
    format: str
    z_step_um: float | None = None
    z_place: int = 0
    n_levels: int = 1


class ImageSource(ABC):
    """One plane of an image, read box by box; a context manager; `read` may be called from several threads.

    Attributes
    ----------
    path
        The file or folder, or its URL.
    shape
        (y, x) in pixels of the level that was selected.
    dtype
        Native-endian dtype of what `read` returns.
    channels
        Channel names as the file gives them, "R", "G", "B" for colour images, else "0", "1", ...
    is_rgb
        The channels are the red, green and blue of a colour picture.
    pixel_size_um
        Side of a pixel in micrometres, as the file or the settings say; None when neither does, or when pixels are not
        square.
    n_planes
        Planes that PageSelection.plane may select.
    format
        Name of the file format, for people.
    z_step_um
        Distance of planes that are neighbours along z, in micrometres, as the file says; None where it does not.
    z_place
        Where the plane is along the file's z axis, counted from 0.
    n_levels
        Levels of the file's pyramid that PageSelection.level may select, 0 the largest.
    """

    def __init__(self, facts: ImageFacts) -> None:
        self.path = facts.path
        self.shape = facts.shape
        self.dtype = facts.dtype
        self.channels = facts.channels
        self.is_rgb = facts.is_rgb
        self.pixel_size_um = facts.pixel_size_um
        self.n_planes = facts.n_planes
        self.format = facts.format
        self.z_step_um = facts.z_step_um
        self.z_place = facts.z_place
        self.n_levels = facts.n_levels

    def read(self, channels: Sequence[int], box: Box) -> Image:
        """Read some channels of a rectangle.

        Parameters
        ----------
        channels
            0-based indices, in the order wanted; an index may repeat.
        box
            Must lie within the image and hold at least one pixel.

        Returns
        -------
        (channel, y, x) array of the file's dtype, C-contiguous, owned by the caller.

        Raises
        ------
        ImageError
            The box leaves the image, or the file's data is damaged there.
        ChannelError
            An index is out of range.
        """
        absent = [index for index in channels if not 0 <= index < len(self.channels)]
        if absent:
            raise ChannelError(
                f"channel {absent[0]} is not in {self.path.name}",
                f"it has channels 0 to {len(self.channels) - 1}",
                "Set channels in config/samples.tsv.",
            )
        if not (0 <= box.y0 < box.y1 <= self.shape[0] and 0 <= box.x0 < box.x1 <= self.shape[1]):
            raise ImageError(
                f"{tuple(box)} is not a box of pixels of {self.path.name}",
                f"expected rows within 0..{self.shape[0]} and columns within 0..{self.shape[1]}",
                "Ask for a rectangle inside the image.",
            )
        return self._read(channels, box)

    @property
    def decoded_bytes(self) -> int:
        """Size of all pixels that were decoded from the file so far, those of channels beside the wanted ones apart."""
        return 0

    def use_scratch(self, folder: Path, limit_bytes: int, memory_bytes: int | None = None) -> None:
        """Keep decoded pixels in a file without a name in `folder` until `close`, so that none is decoded twice.

        For an image that is read more than once; to be called before the first `read`. The file takes at most
        `limit_bytes`. In memory `memory_bytes` are kept, None for what suits one image, or what two reads need. Sources
        without tiles or chunks of their own to decode have no need of it.
        """
        return

    @abstractmethod
    def _read(self, channels: Sequence[int], box: Box) -> Image:
        """Read a box that has been checked."""

    def close(self) -> None:
        """Release the file; nothing can be read afterwards."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ArraySource(ImageSource):
    """An image held in memory: an array of a caller, or a format that can only be decoded whole."""

    def __init__(self, pixels: Image, facts: ImageFacts) -> None:
        super().__init__(facts)
        self._pixels = pixels

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        rows, columns = box.slices
        return np.ascontiguousarray(self._pixels[list(channels), rows, columns])


def contradicts(given: float | None, stated: float | None) -> bool:
    """Tell whether a size that the settings give differs from the file's by more than SIZE_TOLERANCE."""
    return given is not None and stated is not None and abs(given - stated) > SIZE_TOLERANCE * stated


def agreed_pixel_size_um(name: str, stated: float | None, selection: PageSelection) -> float | None:
    """Return the side of a pixel that holds, of what an image and the settings say.

    Raises
    ------
    ImageError
        They contradict one another by more than SIZE_TOLERANCE, and the settings do not claim to know better.
    """
    given = selection.pixel_size_um
    if given is None:
        return stated
    if contradicts(given, stated) and not selection.override_pixel_size:
        raise ImageError(
            f"pixel_size_um is {given:g}, and the metadata of {name} say {stated:.4g} µm",
            f"expected sizes within {SIZE_TOLERANCE:.0%} of one another",
            "Correct or drop pixel_size_um, or set override_pixel_size: true if the metadata are wrong.",
        )
    return given
