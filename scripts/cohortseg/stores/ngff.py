"""Zarr arrays (v2 and v3) and OME-Zarr images (0.1 to 0.5), opened lazily."""

from typing import Any, NamedTuple

import numpy as np
import zarr

from cohortseg.errors import ImageError
from cohortseg.stores.axes import RGB_DTYPES, RGB_SAMPLES, check_dtype, check_index, resolve_axes
from cohortseg.stores.checked_store import CheckedStore
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.ngff_metadata import Multiscale, array_axes
from cohortseg.stores.ngff_plates import image_paths, ome_attributes, open_member
from cohortseg.stores.remote_store import RemoteStore
from cohortseg.stores.source import ImageFacts, PageSelection
from cohortseg.stores.zarr_chunks import chunk_reader
from cohortseg.stores.zarr_source import ZarrSource

RGB_NAMES = ("R", "G", "B")

UNSAFE_CODECS = ("pickle",)
"""Decoding these runs code from the file."""


def open_zarr(path: Location, selection: PageSelection) -> ZarrSource:
    """Open one plane of a zarr array, or of a level of an OME-Zarr image.

    Arrays whose axes are not named have them in the order (t, c, z, y, x), ending in y, x; a third axis is the
    channel.

    Raises
    ------
    ImageError
        There is no readable zarr store, or the series, level or plane is not there.
    """
    store = RemoteStore(path) if isinstance(path, RemoteLocation) else CheckedStore(path, read_only=True)
    try:
        return _zarr_source(path, zarr.open(store, mode="r"), store, selection)
    except ImageError:
        raise
    except Exception as error:  # zarr raises whatever it runs into in damaged metadata
        raise ImageError(
            f"{path.name} cannot be opened as zarr: {str(error) or type(error).__name__}",
            "expected a folder with zarr.json, .zarray or .zgroup, undamaged",
            "Set image to the folder of one zarr array or OME-Zarr image, or copy it again.",
        ) from error


def _zarr_source(
    path: Location, node: "zarr.Array[Any] | zarr.Group", store: CheckedStore | RemoteStore, selection: PageSelection
) -> ZarrSource:
    stored = _stored_array(path.name, node, selection)
    layout = resolve_axes(path.name, stored.axes, stored.array.shape, selection)
    dtype = _checked_dtype(path.name, stored.array)
    store.expect_blosc(stored.array)
    interleaved = layout.axes.endswith("YXC") and layout.shape[-1] in RGB_SAMPLES
    # OME-Zarr has its channels before y and x: there, colours are told by their names, which `convert` writes.
    is_rgb = (interleaved or stored.names == RGB_NAMES) and dtype in RGB_DTYPES
    n_channels = 3 if is_rgb else layout.n_channels
    names = stored.names if len(stored.names) == n_channels else tuple(map(str, range(n_channels)))
    facts = ImageFacts(
        path=path,
        shape=layout.image_shape,
        dtype=dtype,
        channels=RGB_NAMES if is_rgb else names,
        is_rgb=is_rgb,
        pixel_size_um=stored.pixel_size_um,
        n_planes=layout.n_planes,
        format=stored.format,
        z_step_um=stored.z_step_um,
        z_place=layout.z_place(selection.plane),
        n_levels=stored.n_levels,
    )
    return ZarrSource(facts, stored.array, chunk_reader(stored.array, store.value), layout, selection.plane)


class _StoredArray(NamedTuple):
    """An array with what its group or its own attributes say of it."""

    array: "zarr.Array[Any]"
    axes: str
    names: tuple[str, ...]
    pixel_size_um: float | None
    z_step_um: float | None
    format: str
    n_levels: int


def _stored_array(name: str, node: "zarr.Array[Any] | zarr.Group", selection: PageSelection) -> _StoredArray:
    if isinstance(node, zarr.Array):
        check_index(name, "series", selection.series, ["the array"])
        check_index(name, "level", selection.level, ["the array"])
        axes = array_axes(name, node, selection.channel_last)
        return _StoredArray(node, axes, (), None, None, f"Zarr {node.metadata.zarr_format}", 1)
    series = selection.series
    images = image_paths(name, node)
    if images:
        check_index(name, "series", series, images)
        node, series = open_member(name, node, images[series]), 0
    level = Multiscale.of_group(name, ome_attributes(node), series, selection.level)
    array = level.array(node)
    if len(level.axes) != array.ndim:
        raise ImageError(
            f"{name} names {len(level.axes)} axes ({level.axes}) for an array of shape {array.shape}",
            "expected one name for each axis",
            "Correct the multiscales metadata, or export the image again.",
        )
    sizes = level.pixel_size_um, level.z_step_um
    return _StoredArray(array, level.axes, level.channels, *sizes, f"OME-Zarr {level.version}", level.n_levels)


def _checked_dtype(name: str, array: "zarr.Array[Any]") -> np.dtype[Any]:
    codecs = [getattr(codec, "codec_id", "") for codec in (*array.filters, *array.compressors)]
    unsafe = [codec for codec in codecs if codec in UNSAFE_CODECS]
    if unsafe:
        raise ImageError(
            f"{name} is encoded with {unsafe[0]}", "expected codecs that cannot run code", "Convert it to plain zarr."
        )
    return check_dtype(name, np.dtype(array.dtype))
