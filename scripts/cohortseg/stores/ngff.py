"""Zarr arrays (v2 and v3) and OME-Zarr images (0.1 to 0.5), opened lazily."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError
from cohortseg.stores.axes import RGB_DTYPES, RGB_SAMPLES, AxisLayout, check_dtype, check_index, resolve_axes
from cohortseg.stores.checked_store import CheckedStore
from cohortseg.stores.ngff_metadata import Multiscale, array_axes
from cohortseg.stores.source import ImageFacts, ImageSource, PageSelection

UNSAFE_CODECS = ("pickle",)
"""Decoding these runs code from the file."""


class ZarrSource(ImageSource):
    """A plane of a zarr array; see ImageSource. Chunks that are absent hold the fill value."""

    def __init__(self, facts: ImageFacts, array: "zarr.Array[Any]", layout: AxisLayout, plane: int) -> None:
        super().__init__(facts)
        self._array = array
        self._layout = layout
        self._corner = layout.corner(plane, 0)

    def _read(self, channels: Sequence[int], box: Box) -> Image:
        # one selection for all channels, since one chunk may hold several
        wanted, positions = np.unique(channels, return_inverse=True)
        selected: dict[str, Any] = {"Y": slice(box.y0, box.y1), "X": slice(box.x0, box.x1), "C": wanted}
        index = [selected.get(axis, first) for axis, first in zip(self._layout.axes, self._corner, strict=True)]
        try:
            pixels = np.asarray(self._array.oindex[tuple(index)])
        except Exception as error:  # each codec has errors of its own; all mean that the chunk is damaged
            raise ImageError(
                f"{self.path.name} cannot be read in rows {box.y0} to {box.y1}, columns {box.x0} to {box.x1}: "
                f"{str(error) or type(error).__name__}",
                "expected undamaged chunks",
                "Copy or export the image again.",
            ) from error
        axes = "".join(axis for axis in self._layout.axes if axis in "CYX")
        if "C" not in axes:
            axes, pixels = "C" + axes, pixels[np.newaxis]
        ordered = pixels.transpose([axes.index(axis) for axis in "CYX"])[positions]
        return np.ascontiguousarray(ordered, dtype=self.dtype)


def open_zarr(path: Path, selection: PageSelection) -> ZarrSource:
    """Open one plane of a zarr array, or of a level of an OME-Zarr image.

    Arrays whose axes are not named have them in the order (t, c, z, y, x), ending in y, x; a third axis is the
    channel.

    Raises
    ------
    ImageError
        There is no readable zarr store, or the series, level or plane is not there.
    """
    store = CheckedStore(path, read_only=True)
    stored = _stored_array(path.name, _open_node(path, store), selection)
    layout = resolve_axes(path.name, stored.axes, stored.array.shape, selection)
    dtype = _checked_dtype(path.name, stored.array)
    store.expect_blosc(stored.array)
    is_rgb = layout.axes.endswith("YXC") and layout.shape[-1] in RGB_SAMPLES and dtype in RGB_DTYPES
    n_channels = 3 if is_rgb else layout.n_channels
    names = stored.names if len(stored.names) == n_channels else tuple(map(str, range(n_channels)))
    facts = ImageFacts(
        path=path,
        shape=layout.image_shape,
        dtype=dtype,
        channels=("R", "G", "B") if is_rgb else names,
        is_rgb=is_rgb,
        pixel_size_um=stored.pixel_size_um,
        n_planes=layout.n_planes,
        format=stored.format,
    )
    return ZarrSource(facts, stored.array, layout, selection.plane)


class _StoredArray(NamedTuple):
    """An array with what its group or its own attributes say of it."""

    array: "zarr.Array[Any]"
    axes: str
    names: tuple[str, ...]
    pixel_size_um: float | None
    format: str


def _stored_array(name: str, node: "zarr.Array[Any] | zarr.Group", selection: PageSelection) -> _StoredArray:
    if isinstance(node, zarr.Array):
        check_index(name, "series", selection.series, ["the array"])
        check_index(name, "level", selection.level, ["the array"])
        axes = array_axes(name, node, selection.channel_last)
        return _StoredArray(node, axes, (), None, f"Zarr {node.metadata.zarr_format}")
    series = selection.series
    if "bioformats2raw.layout" in _attributes(node):
        images = sorted((key for key in node.group_keys() if key.isdigit()), key=int)
        check_index(name, "series", series, images)
        node, series = zarr.open_group(node.store_path / images[series], mode="r"), 0
    level = Multiscale.of_group(name, _attributes(node), series, selection.level)
    array = level.array(node)
    if len(level.axes) != array.ndim:
        raise ImageError(
            f"{name} names {len(level.axes)} axes ({level.axes}) for an array of shape {array.shape}",
            "expected one name for each axis",
            "Correct the multiscales metadata, or export the image again.",
        )
    return _StoredArray(array, level.axes, level.channels, level.pixel_size_um, f"OME-Zarr {level.version}")


def _open_node(path: Path, store: CheckedStore) -> "zarr.Array[Any] | zarr.Group":
    try:
        return zarr.open(store, mode="r")
    except Exception as error:  # zarr raises whatever it runs into in damaged metadata
        raise ImageError(
            f"{path.name} cannot be opened as zarr: {str(error) or type(error).__name__}",
            "expected a folder with zarr.json, .zarray or .zgroup",
            "Set image to the folder of one zarr array or OME-Zarr image.",
        ) from error


def _attributes(group: zarr.Group) -> dict[str, Any]:
    """Return the OME attributes of a group: under the key `ome` since version 0.5."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _checked_dtype(name: str, array: "zarr.Array[Any]") -> np.dtype[Any]:
    codecs = [getattr(codec, "codec_id", "") for codec in (*array.filters, *array.compressors)]
    unsafe = [codec for codec in codecs if codec in UNSAFE_CODECS]
    if unsafe:
        raise ImageError(
            f"{name} is encoded with {unsafe[0]}", "expected codecs that cannot run code", "Convert it to plain zarr."
        )
    return check_dtype(name, np.dtype(array.dtype))
