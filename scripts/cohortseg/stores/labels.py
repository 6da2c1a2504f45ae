"""mask.zarr: label images as OME-NGFF 0.5 in sharded zarr v3, written and read in bounded memory."""

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from cohortseg.arrays import Box, Labels
from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.checked_store import CheckedStore

NGFF_VERSION = "0.5"
ZSTD_LEVEL = 3

ReadPlane = Callable[[Box], Labels]
"""Gives the labels of a box of a 2D image."""

ReadStack = Callable[[int, Box], Labels]
"""Gives the labels of a box of one plane of a stack."""


@dataclass(frozen=True)
class LabelLayout:
    """How a label image is stored.

    Parameters
    ----------
    name
        Name of the image in its metadata.
    chunk_px
        Side of a chunk, the smallest part that a viewer reads. Pyramid levels end when one chunk holds a plane.
    shard_px
        Side of a shard (one file), a multiple of `chunk_px`.
    pixel_size_um, z_step_um
        Scale in micrometres; None where unknown: the scale is then 1 without a unit.
    """

    name: str
    chunk_px: int
    shard_px: int
    pixel_size_um: float | None
    z_step_um: float | None


def write_labels(
    path: Path,
    shape: tuple[int, int] | tuple[int, int, int],
    read: ReadPlane | ReadStack,
    *,
    layout: LabelLayout,
    workers: int,
) -> None:
    """Write a multiscale label image, asking `read` for each shard once.

    Each level holds every second row and column of the level above ([::2, ::2], so that no value is invented); planes
    are not thinned out along z. Memory is bounded by a few shards for each worker, and the files do not depend on
    `workers`. Shards without labels are not stored; absent ones read as 0. The folder appears under its name when
    complete.

    Parameters
    ----------
    path
        Final folder.
    shape
        (y, x), or (z, y, x) of a stack.
    read
        `read(box)` for (y, x), `read(z, box)` for (z, y, x), giving uint32 labels of the box's shape. Called from
        several threads where `workers` > 1.
    layout
        Chunks, shards, scale and name.
    workers
        Shards written at once.
    """
    planes: ReadStack = cast(ReadStack, read) if len(shape) == 3 else _ignoring_z(cast(ReadPlane, read))
    with atomic_path(path) as temporary, ThreadPoolExecutor(workers) as pool:
        group = zarr.create_group(temporary, zarr_format=3)
        levels = list(_level_shapes(shape, layout.chunk_px))
        group.attrs.update({"ome": _metadata(layout, len(shape), len(levels))})
        level_reader = planes
        for level, level_shape in enumerate(levels):
            array = _create_level(group, str(level), level_shape, layout)
            _write_level(array, level_reader, layout.shard_px, pool)
            level_reader = _thinned(array)


class LabelSource:
    """A label image opened lazily; `read` may be called from several threads. Made by `open_labels`."""

    def __init__(self, path: Path, array: "zarr.Array[Any]") -> None:
        self._path = path
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x) or (z, y, x) of the level."""
        return tuple(self._array.shape)

    def read(self, box: Box) -> Labels:
        """Return the (y, x) uint32 labels of a box of a 2D image; TableError where a chunk is damaged."""
        return self._read(box.slices)

    def read_plane(self, z: int, box: Box) -> Labels:
        """Return the (y, x) uint32 labels of a box of one plane; TableError where a chunk is damaged."""
        return self._read((z, *box.slices))

    def _read(self, index: tuple[Any, ...]) -> Labels:
        try:
            return np.asarray(self._array[index], dtype=np.uint32)
        except Exception as error:  # each codec has errors of its own; all mean that the chunk is damaged
            raise _unreadable(self._path, error) from error


def open_labels(path: Path, level: int = 0) -> LabelSource:
    """Open a level of a label image that `write_labels` made; 0 is full resolution.

    Raises
    ------
    MissingFileError
        There is no folder.
    TableError
        It is damaged, holds no uint32 labels, or has no such level.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path} does not exist", "expected a label image", "Run the rule rasterise.")
    try:
        array = zarr.open_array(CheckedStore(path, read_only=True), path=str(level), mode="r")
    except Exception as error:  # zarr raises whatever it runs into in damaged metadata
        raise _unreadable(path, error) from error
    if array.dtype != np.uint32 or array.ndim not in (2, 3):
        raise TableError(
            f"{path.name} holds {array.dtype} of shape {array.shape}",
            "expected uint32 labels of shape (y, x) or (z, y, x)",
            "Run the rule rasterise again.",
        )
    return LabelSource(path, array)


def _unreadable(path: Path, error: Exception) -> TableError:
    return TableError(
        f"{path.name} cannot be read: {str(error) or type(error).__name__}",
        "expected an undamaged label image",
        "Delete it and run the rule rasterise again.",
    )


def _ignoring_z(read: ReadPlane) -> ReadStack:
    return lambda _, box: read(box)


def _thinned(above: "zarr.Array[Any]") -> ReadStack:
    """Return a reader of every second row and column of a level."""

    def read(z: int, box: Box) -> Labels:
        index = slice(2 * box.y0, 2 * box.y1, 2), slice(2 * box.x0, 2 * box.x1, 2)
        return np.asarray(above[(z, *index) if above.ndim == 3 else index], dtype=np.uint32)

    return read


def _level_shapes(shape: tuple[int, ...], chunk_px: int) -> Iterator[tuple[int, ...]]:
    yield shape
    while max(shape[-2:]) > chunk_px:
        shape = (*shape[:-2], math.ceil(shape[-2] / 2), math.ceil(shape[-1] / 2))
        yield shape


def _create_level(group: zarr.Group, name: str, shape: tuple[int, ...], layout: LabelLayout) -> "zarr.Array[Any]":
    # a level smaller than a shard takes the least whole number of chunks
    shard = min(layout.shard_px, math.ceil(max(shape[-2:]) / layout.chunk_px) * layout.chunk_px)
    planes = (1,) * (len(shape) - 2)
    return group.create_array(
        name,
        shape=shape,
        dtype="uint32",
        chunks=(*planes, layout.chunk_px, layout.chunk_px),
        shards=(*planes, shard, shard),
        compressors=ZstdCodec(level=ZSTD_LEVEL),
        dimension_names=["z", "y", "x"][3 - len(shape) :],
        config={"write_empty_chunks": False},
    )


def _write_level(array: "zarr.Array[Any]", read: ReadStack, shard_px: int, pool: ThreadPoolExecutor) -> None:
    height, width = array.shape[-2:]

    def write(place: tuple[int, int, int]) -> None:
        z, y, x = place
        box = Box(y, x, min(y + shard_px, height), min(x + shard_px, width))
        labels = read(z, box)
        if labels.any():
            array[(z, *box.slices) if array.ndim == 3 else box.slices] = labels

    n_planes = array.shape[0] if array.ndim == 3 else 1
    places = itertools.product(range(n_planes), range(0, height, shard_px), range(0, width, shard_px))
    for _ in pool.map(write, places):
        pass


def _metadata(layout: LabelLayout, ndim: int, n_levels: int) -> dict[str, Any]:
    sizes = {"z": layout.z_step_um, "y": layout.pixel_size_um, "x": layout.pixel_size_um}
    known = [(name, sizes[name]) for name in "zyx"[3 - ndim :]]
    axes = [{"name": name, "type": "space"} | ({"unit": "micrometer"} if size else {}) for name, size in known]
    scales = [
        [float(size or 1) * (1 if name == "z" else 2**level) for name, size in known] for level in range(n_levels)
    ]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    return {
        "version": NGFF_VERSION,
        "multiscales": [{"name": layout.name, "axes": axes, "datasets": datasets, "type": "nearest"}],
        "image-label": {"version": NGFF_VERSION},
    }
