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


@dataclass(frozen=True)
class PageSelection:
    """Which plane of a file is the image.

    Parameters
    ----------
    image_type
        "tiff", "zarr" or "cv2"; None decides by the file's content, then its suffix.
    series
        Image of a file that holds several.
    level
        Level of its pyramid; 0 is full resolution.
    plane
        Index along the flattened axes that are neither y, x nor channel (time, then z, as the file orders them).
    channel_last
        The last axis is the channel, for files that do not name their axes.
    """

    image_type: str | None
    series: int
    level: int
    plane: int
    channel_last: bool

    @classmethod
    def of(cls, settings: SegmentSettings) -> Self:
        """Return which plane of a file the settings of its segmentation name."""
        return cls(
            image_type=settings.image_type,
            series=settings.series,
            level=settings.level,
            plane=settings.plane or 0,
            channel_last=settings.channel_last,
        )


FIRST_PAGE = PageSelection(image_type=None, series=0, level=0, plane=0, channel_last=False)
"""The first plane at full resolution: what a file with a single image holds."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image before any pixel is read."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    channels: tuple[str, ...]
    is_rgb: bool
    pixel_size_um: float | None
    n_planes: int
    format: str


class ImageSource(ABC):
    """One plane of an image, read box by box; a context manager; `read` may be called from several threads.

    Attributes
    ----------
    path
        The file or folder.
    shape
        (y, x) in pixels of the level that was selected.
    dtype
        Native-endian dtype of what `read` returns.
    channels
        Channel names as the file gives them, "R", "G", "B" for colour images, else "0", "1", ...
    is_rgb
        The channels are the red, green and blue of a colour picture.
    pixel_size_um
        Side of a pixel in micrometres; None when the file does not say, or when pixels are not square.
    n_planes
        Planes that PageSelection.plane may select.
    format
        Name of the file format, for people.
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
            raise _channel_error(self, absent[0])
        if not (0 <= box.y0 < box.y1 <= self.shape[0] and 0 <= box.x0 < box.x1 <= self.shape[1]):
            raise ImageError(
                f"{tuple(box)} is not a box of pixels of {self.path.name}",
                f"expected rows within 0..{self.shape[0]} and columns within 0..{self.shape[1]}",
                "Ask for a rectangle inside the image.",
            )
        return self._read(channels, box)

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


def channel_indices(source: ImageSource, wanted: Sequence[str | int]) -> list[int]:
    """Return the 0-based index of each wanted channel.

    An exact name wins; then a name that differs in case only, where it is the only such one; an integer, or a text
    of digits that is no channel's name, is an index.

    Raises
    ------
    ChannelError
        A channel is not there, or its name is borne by several; the message lists what there is.
    """
    return [_channel_index(source, channel) for channel in wanted]


def _channel_index(source: ImageSource, channel: str | int) -> int:
    if isinstance(channel, str):
        exact = [i for i, name in enumerate(source.channels) if name == channel]
        found = exact or [i for i, name in enumerate(source.channels) if name.casefold() == channel.casefold()]
        if len(found) > 1:
            raise ChannelError(
                f"channel {channel!r} of {source.path.name} is ambiguous",
                f"it is the name of channels {', '.join(map(str, found))}",
                "Name it by its 0-based index in channels in config/samples.tsv.",
            )
        if found:
            return found[0]
        if not (channel.isascii() and channel.isdigit()):
            raise _channel_error(source, channel)
    index = int(channel)
    if not 0 <= index < len(source.channels):
        raise _channel_error(source, channel)
    return index


def _channel_error(source: ImageSource, channel: str | int) -> ChannelError:
    return ChannelError(
        f"channel {channel!r} is not in {source.path.name}",
        f"it has: {', '.join(source.channels)}",
        "Set channels in config/samples.tsv.",
    )
