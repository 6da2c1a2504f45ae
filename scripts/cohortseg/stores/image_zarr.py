"""Images as OME-Zarr 0.5 with a pyramid, written in bounded memory."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from cohortseg.arrays import Box, Image
from cohortseg.settings import ConvertSettings
from cohortseg.stores.atomic import atomic_path

NGFF_VERSION = "0.5"
ZSTD_LEVEL = 3
SHOWN_PERCENTILES = (1.0, 99.8)
"""Of a channel's smallest level: where viewers begin and end its contrast."""

COLOURS = ("0000FF", "00FF00", "FF0000", "00FFFF", "FF00FF", "FFFF00")
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")

ReadPixels = Callable[[int, Sequence[int], Box], Image]
"""(plane, channels, box) -> (channel, y, x) pixels."""


@dataclass(frozen=True)
class PyramidFacts:
    """What an image is.

    Attributes
    ----------
    shape
        (channel, z, y, x); an image of one plane is stored without z.
    dtype
        Of the pixels.
    channels
        A name for each channel.
    is_rgb
        The channels are red, green and blue, which a file holds together: they are asked for together.
    pixel_size_um
        Side of a pixel; None where unknown: the scale is then 1 without a unit.
    z_step_um
        Distance of neighbouring planes; None likewise.
    """

    name: str
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    channels: tuple[str, ...]
    is_rgb: bool
    pixel_size_um: float | None
    z_step_um: float | None


def write_pyramid(
    path: Path, facts: PyramidFacts, read: ReadPixels, settings: ConvertSettings, on_done: Callable[[int], None]
) -> None:
    """Write an image with a pyramid, each level half as large as the one above, until one chunk holds a plane.

    A pixel of a lower level is the mean of the (up to) four above it, whole numbers rounded, halves upwards; z is not
    thinned out. The source is read once, in bands of a shard's height, one channel at a time: the memory is that of one
    band, and of a few shards for each worker. The files do not depend on `settings.n_workers`. Chunks of zeros are not
    stored. The folder appears under its name when complete.

    Parameters
    ----------
    read
        Called from several threads at once, for boxes at most `shard_px` wide, those of a band of `chunk_px` rows
        after one another.
    on_done
        Told, from any thread, how many more samples of the full resolution are written.
    """
    n_channels, n_planes, *plane_shape = facts.shape
    together = [tuple(range(n_channels))] if facts.is_rgb else [(channel,) for channel in range(n_channels)]
    with atomic_path(path) as temporary, ThreadPoolExecutor(settings.n_workers, "convert") as pool:
        group = zarr.create_group(temporary, zarr_format=3)
        shapes = list(_level_shapes((plane_shape[0], plane_shape[1]), settings.chunk_px))
        arrays = [_create_level(group, str(i), shape, facts, settings) for i, shape in enumerate(shapes)]
        for channels, plane in itertools.product(together, range(n_planes)):
            _write_plane(arrays[0], channels, plane, read, settings, pool, on_done)
        for above, array in itertools.pairwise(arrays):
            _write_level(array, above, settings, pool)
        group.attrs.update({"ome": _metadata(facts, arrays[-1], len(arrays))})


def _level_shapes(shape: tuple[int, int], chunk_px: int) -> Iterator[tuple[int, int]]:
    yield shape
    while max(shape) > chunk_px:
        shape = math.ceil(shape[0] / 2), math.ceil(shape[1] / 2)
        yield shape


def _create_level(
    group: zarr.Group, name: str, shape: tuple[int, int], facts: PyramidFacts, settings: ConvertSettings
) -> "zarr.Array[Any]":
    chunk = settings.chunk_px
    # a level smaller than a shard takes the least whole number of chunks
    shard = min(settings.shard_px, math.ceil(max(shape) / chunk) * chunk)
    outer = facts.shape[:2] if facts.shape[1] > 1 else facts.shape[:1]
    ones = (1,) * len(outer)
    return group.create_array(
        name,
        shape=(*outer, *shape),
        dtype=facts.dtype,
        chunks=(*ones, chunk, chunk),
        shards=(*ones, shard, shard),
        compressors=ZstdCodec(level=ZSTD_LEVEL),
        dimension_names=list("czyx" if len(outer) == 2 else "cyx"),
        config={"write_empty_chunks": False},
    )


def _write_plane(
    array: "zarr.Array[Any]",
    channels: Sequence[int],
    plane: int,
    read: ReadPixels,
    settings: ConvertSettings,
    pool: Executor,
    on_done: Callable[[int], None],
) -> None:
    """Write channels of one plane at full resolution, band after band."""
    height, width = array.shape[-2:]
    columns = [(x, min(x + settings.shard_px, width)) for x in range(0, width, settings.shard_px)]
    for y0 in range(0, height, settings.shard_px):
        y1 = min(y0 + settings.shard_px, height)
        band = np.empty((len(channels), y1 - y0, width), array.dtype)
        # Low boxes side by side, so that strips as wide as the image are decoded once.
        rows = [(y, min(y + settings.chunk_px, y1)) for y in range(y0, y1, settings.chunk_px)]

        def fill(place: tuple[tuple[int, int], tuple[int, int]], band: Image = band, y0: int = y0) -> None:
            (top, bottom), (left, right) = place
            band[:, top - y0 : bottom - y0, left:right] = read(plane, channels, Box(top, left, bottom, right))

        def store(place: tuple[int, tuple[int, int]], band: Image = band, rows: slice = slice(y0, y1)) -> None:
            i, (left, right) = place
            pixels = band[i, :, left:right]
            if pixels.any():
                array[_index(array, channels[i], plane, rows, slice(left, right))] = pixels
            on_done(pixels.size)

        _run(pool, fill, itertools.product(rows, columns))
        _run(pool, store, itertools.product(range(len(channels)), columns))


def _write_level(array: "zarr.Array[Any]", above: "zarr.Array[Any]", settings: ConvertSettings, pool: Executor) -> None:
    """Write a level from the one above, shard by shard."""
    height, width = array.shape[-2:]
    n_channels, n_planes = array.shape[0], array.shape[1] if array.ndim == 4 else 1
    shard, chunk = settings.shard_px, settings.chunk_px

    def write(place: tuple[int, int, int, int]) -> None:
        channel, plane, y, x = place
        box = Box(y, x, min(y + shard, height), min(x + shard, width))
        pixels = np.empty(box.shape, array.dtype)
        columns = slice(2 * box.x0, min(2 * box.x1, above.shape[-1]))
        for top in range(box.y0, box.y1, chunk):  # in parts, since what is above has four times as many pixels
            bottom = min(top + chunk, box.y1)
            rows = slice(2 * top, min(2 * bottom, above.shape[-2]))
            pixels[top - y : bottom - y] = halved(np.asarray(above[_index(above, channel, plane, rows, columns)]))
        if pixels.any():
            array[_index(array, channel, plane, *box.slices)] = pixels

    places = itertools.product(range(n_channels), range(n_planes), range(0, height, shard), range(0, width, shard))
    _run(pool, write, places)


def _run(pool: Executor, work: Callable[[Any], None], places: Iterator[Any]) -> None:
    for _ in pool.map(work, places):
        pass


def _index(array: "zarr.Array[Any]", channel: int, plane: int, rows: slice, columns: slice) -> tuple[Any, ...]:
    return (channel, plane, rows, columns) if array.ndim == 4 else (channel, rows, columns)


def halved(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the means of blocks of 2 x 2 pixels of a (y, x) array, of its type; odd ends have smaller blocks.

    Whole numbers are rounded, halves upwards, exactly.
    """
    padded = np.pad(pixels, [(0, n % 2) for n in pixels.shape], mode="edge")
    corners = [padded[y::2, x::2] for y, x in itertools.product((0, 1), (0, 1))]
    if pixels.dtype.kind == "f":
        mean: NDArray[Any] = np.mean([corner.astype(np.float64) for corner in corners], axis=0)
        return mean.astype(pixels.dtype)
    # Quarters and remainders apart, so that no sum leaves the type.
    one = pixels.dtype.type
    quarters = sum((corner >> one(2) for corner in corners), np.zeros_like(corners[0]))
    remainders = sum((corner & one(3) for corner in corners), np.full_like(corners[0], 2))
    whole: NDArray[Any] = quarters + (remainders >> one(2))
    return whole


def _metadata(facts: PyramidFacts, smallest: "zarr.Array[Any]", n_levels: int) -> dict[str, Any]:
    sizes = {"y": facts.pixel_size_um, "x": facts.pixel_size_um}
    if facts.shape[1] > 1:
        sizes = {"z": facts.z_step_um, **sizes}
    spaces = [
        {"name": name, "type": "space"} | ({"unit": "micrometer"} if size else {}) for name, size in sizes.items()
    ]
    datasets = []
    for level in range(n_levels):
        scale = [1.0, *(float(size or 1) * (1 if name == "z" else 2**level) for name, size in sizes.items())]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    axes = [{"name": "c", "type": "channel"}, *spaces]
    colours = RGB_COLOURS if facts.is_rgb else COLOURS
    return {
        "version": NGFF_VERSION,
        "multiscales": [{"name": facts.name, "axes": axes, "datasets": datasets, "type": "mean"}],
        "omero": {
            "channels": [
                {
                    "label": label,
                    "color": colours[i % len(colours)],
                    "active": facts.is_rgb or i == 0,
                    "window": _window(np.asarray(smallest[i])),
                }
                for i, label in enumerate(facts.channels)
            ],
            "rdefs": {"model": "color"},
        },
    }


def _window(pixels: NDArray[Any]) -> dict[str, float]:
    """Return the contrast in which viewers show a channel, by its smallest level."""
    finite = pixels[np.isfinite(pixels)]
    start, end = np.percentile(finite, SHOWN_PERCENTILES) if finite.size else (0.0, 1.0)
    if pixels.dtype.kind == "f":
        least, most = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    else:
        least, most = np.iinfo(pixels.dtype).min, np.iinfo(pixels.dtype).max
    return {"min": float(least), "max": float(most), "start": float(start), "end": float(max(end, start + 1))}
