"""Which axis of a stored array is what: pure, no files."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohortseg.errors import ImageError
from cohortseg.stores.source import PageSelection

UNNAMED = frozenset("IQ")
"""Axis letters by which tifffile marks an axis that the file does not name."""


_MOST_LISTED = 100

RGB_SAMPLES = (3, 4)
RGB_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Interleaved samples of these numbers and dtypes are a colour picture, the fourth being opacity."""


@dataclass(frozen=True)
class AxisLayout:
    """The axes of one stored array.

    `axes` holds one letter a dimension of `shape`: Y and X once each, C and S for channels and samples, any other
    letter for an axis that counts planes.
    """

    axes: str
    shape: tuple[int, ...]

    @property
    def image_shape(self) -> tuple[int, int]:
        """(y, x)."""
        return self.shape[self.axes.index("Y")], self.shape[self.axes.index("X")]

    @property
    def n_channels(self) -> int:
        """Channels times samples."""
        return math.prod(self.shape[i] for i in self._channel_axes)

    @property
    def n_planes(self) -> int:
        """Combinations of all axes that are neither Y, X, C nor S."""
        return math.prod(self.shape[i] for i in self._plane_axes)

    @property
    def pixel_strides(self) -> tuple[int, int]:
        """Elements from one row to the next, and from one column to the next, of the array in C order."""
        return math.prod(self.shape[self.axes.index("Y") + 1 :]), math.prod(self.shape[self.axes.index("X") + 1 :])

    def corner(self, plane: int, channel: int) -> tuple[int, ...]:
        """Return the index of the pixel (0, 0) of one channel of one plane, in the order of `axes`."""
        index = [0] * len(self.axes)
        for positions, flat in ((self._plane_axes, plane), (self._channel_axes, channel)):
            for i in reversed(positions):
                flat, index[i] = divmod(flat, self.shape[i])
        return tuple(index)

    def z_place(self, plane: int) -> int:
        """Return where a plane is along z, counted from 0; 0 where there is no such axis."""
        return self.corner(plane, 0)[self.axes.index("Z")] if "Z" in self.axes else 0

    @property
    def _channel_axes(self) -> list[int]:
        return [i for i, axis in enumerate(self.axes) if axis in "CS"]

    @property
    def _plane_axes(self) -> list[int]:
        return [i for i, axis in enumerate(self.axes) if axis not in "YXCS"]


def resolve_axes(name: str, axes: str, shape: tuple[int, ...], selection: PageSelection) -> AxisLayout:
    """Decide what each axis of a stored array is.

    Axes that the file does not name (letters I and Q) are channels if the file has no channel or sample axis, the
    last of them where there are several; other axes count planes. With `channel_last`, a file whose axes are not all
    named has its last axis as channel and the two before as y and x.

    Raises
    ------
    ImageError
        An axis is missing or empty, or the selected plane is not there.
    """
    unnamed = [i for i, axis in enumerate(axes) if axis in UNNAMED]
    if unnamed and selection.channel_last and len(axes) >= 3:
        axes = axes[: len(axes) - 3].replace("C", "Q") + "YXC"
    elif unnamed and not any(axis in "CS" and n > 1 for axis, n in zip(axes, shape, strict=True)):
        axes = axes.replace("C", "Q")
        axes = axes[: unnamed[-1]] + "C" + axes[unnamed[-1] + 1 :]
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise ImageError(
            f"{name} has axes {axes or '(none)'} of shape {shape}",
            "expected a y and an x axis",
            "Save the image with two spatial axes, best as OME-TIFF or OME-Zarr.",
        )
    if 0 in shape:
        raise ImageError(
            f"{name} has no pixels: its shape is {shape} ({axes})",
            "expected at least one pixel in every axis",
            "Export the image again.",
        )
    layout = AxisLayout(axes, tuple(int(n) for n in shape))
    if not 0 <= selection.plane < layout.n_planes:
        raise ImageError(
            f"plane {selection.plane} is not in {name}",
            f"it has planes 0 to {layout.n_planes - 1} and channels 0 to {layout.n_channels - 1}"
            f" (axes {axes} of shape {layout.shape})",
            "Set plane in config/samples.tsv; pages that the file does not name count as channels.",
        )
    return layout


def check_dtype(name: str, dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the native-endian dtype in which an image is read: its own, uint8 for booleans.

    Raises
    ------
    ImageError
        The dtype is not a real number.
    """
    if dtype is None or dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ImageError(
            f"{name} has pixels of type {dtype}",
            "expected integers or floating-point numbers of at most 64 bits",
            "Convert the image to uint8, uint16 or float32.",
        )
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def check_index(name: str, what: str, index: int, names: list[str]) -> None:
    """Raise ImageError where `index` is not one of the listed series or levels of a file."""
    if not 0 <= index < len(names):
        listing = ", ".join(f"{i} ({each})" for i, each in enumerate(names[:_MOST_LISTED]))
        listing += f", ... {len(names) - 1}" if len(names) > _MOST_LISTED else ""
        raise ImageError(f"{what} {index} is not in {name}", f"it has: {listing}", f"Set {what} in config/samples.tsv.")
