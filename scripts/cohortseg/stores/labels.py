"""mask.zarr: label images as OME-NGFF, sharded in zarr v3, written and read in bounded memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.codecs import ZstdCodec

from cohortseg.arrays import Box, Labels
from cohortseg.errors import MissingFileError, TableError
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.checked_store import CheckedStore
from cohortseg.stores.pyramid import Pyramid
from cohortseg.stores.shards import ZSTD_LEVEL, ShardGrid

NGFF_VERSIONS = {2: "0.4", 3: "0.5"}
"""Version of OME-NGFF by that of zarr."""

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
    zarr_format
        3 (OME-NGFF 0.5), or 2 (OME-NGFF 0.4) for older programs: each chunk is then a file.
    """

    name: str
    chunk_px: int
    shard_px: int
    pixel_size_um: float | None
    z_step_um: float | None
    zarr_format: int = 3


def write_labels(
    path: Path,
    shape: tuple[int, int] | tuple[int, int, int],
    read: ReadPlane | ReadStack,
    *,
    layout: LabelLayout,
    workers: int,
    notes: Callable[[], Mapping[str, Any]] | None = None,
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
        Shards drawn and written at once.
    notes
        Asked when all is drawn for what else to keep in the attributes, under `cohortseg`.
    """
    planes: ReadStack = cast(ReadStack, read) if len(shape) == 3 else _ignoring_z(cast(ReadPlane, read))
    n_planes = shape[0] if len(shape) == 3 else 1
    with atomic_path(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=_zarr_format(layout))
        levels = list(_level_shapes(shape, layout.chunk_px))
        pyramid = Pyramid([_create_level(group, temporary, i, each, layout) for i, each in enumerate(levels)])

        def write(place: tuple[int, tuple[int, int]]) -> None:
            z, (row, column) = place
            pyramid.add(z, row, column, planes(z, pyramid.box(row, column)))

        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(write, [(z, place) for z in range(n_planes) for place in pyramid.places()]):
                pass
        group.attrs.update(_metadata(layout, len(shape), len(levels)))
        if notes is not None:
            group.attrs.update({"cohortseg": dict(notes())})


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


def _level_shapes(shape: tuple[int, ...], chunk_px: int) -> Iterator[tuple[int, ...]]:
    yield shape
    while max(shape[-2:]) > chunk_px:
        shape = (*shape[:-2], math.ceil(shape[-2] / 2), math.ceil(shape[-1] / 2))
        yield shape


def _zarr_format(layout: LabelLayout) -> Literal[2, 3]:
    return 2 if layout.zarr_format == 2 else 3


def _create_level(
    group: zarr.Group, folder: Path, level: int, shape: tuple[int, ...], layout: LabelLayout
) -> ShardGrid:
    """Write the metadata of a level's array, and return where its shards go."""
    # a level smaller than a shard takes the least whole number of chunks
    shard_px = min(layout.shard_px, math.ceil(max(shape[-2:]) / layout.chunk_px) * layout.chunk_px)
    planes, is_v2 = (1,) * (len(shape) - 2), layout.zarr_format == 2
    group.create_array(
        str(level),
        shape=shape,
        dtype="uint32",
        chunks=(*planes, layout.chunk_px, layout.chunk_px),
        shards=None if is_v2 else (*planes, shard_px, shard_px),
        compressors=Zstd(level=ZSTD_LEVEL) if is_v2 else ZstdCodec(level=ZSTD_LEVEL),
        chunk_key_encoding={"name": "v2", "separator": "/"} if is_v2 else None,
        dimension_names=None if is_v2 else ["z", "y", "x"][3 - len(shape) :],
        fill_value=0,
    )
    return ShardGrid(
        folder / str(level), (shape[-2], shape[-1]), layout.chunk_px, shard_px, layout.zarr_format, len(shape) == 3
    )


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
    version = NGFF_VERSIONS[layout.zarr_format]
    multiscale = {"name": layout.name, "axes": axes, "datasets": datasets, "type": "nearest"}
    if layout.zarr_format == 2:
        return {"multiscales": [{"version": version, **multiscale}], "image-label": {"version": version}}
    return {"ome": {"version": version, "multiscales": [multiscale], "image-label": {"version": version}}}
