"""rasterising.py WHAT POLYGONS MASK SIDE WORKERS: draw a file of polygons, timed in a process of its own.

WHAT is `ours` (from the file to a compressed label pyramid), `rasterio` or `skimage` (an array in memory, from
geometries that were read before). Prints the seconds and a checksum of the labels.
"""

import json
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from skimage.draw import polygon

from cohortseg.arrays import Box
from cohortseg.settings import RasteriseSettings
from cohortseg.steps.rasterise import rasterise_file
from cohortseg.stores.labels import open_labels

_BAND_PX = 1024
_WARM_UP_PX = 256


def main(what: str, polygons: str, mask: str, side: str, workers: str) -> None:
    shape = int(side), int(side)
    if what == "ours":
        seconds = _ours(Path(polygons), Path(mask), shape, int(workers))
        labels = open_labels(Path(mask))
        bands = (labels.read(Box(y, 0, min(y + _BAND_PX, shape[0]), shape[1])) for y in range(0, shape[0], _BAND_PX))
    else:
        table = geopandas.read_parquet(polygons, columns=["cell_id", "geometry"])
        shapes, ids = np.asarray(table.geometry), table["cell_id"].to_numpy()
        start = time.perf_counter()
        drawn = (_rasterio if what == "rasterio" else _skimage)(shapes, ids, shape)
        seconds = time.perf_counter() - start
        bands = (drawn[y : y + _BAND_PX] for y in range(0, shape[0], _BAND_PX))
    print(json.dumps({"seconds": seconds, "checksum": _checksum(bands)}))


def _ours(polygons: Path, mask: Path, shape: tuple[int, int], workers: int) -> float:
    def draw(to: Path, of: tuple[int, int]) -> None:
        settings = RasteriseSettings()
        rasterise_file(polygons, to, settings, shape=of, name="bench", pixel_size_um=None, workers=workers)

    draw(mask.with_name("warm.zarr"), (_WARM_UP_PX, _WARM_UP_PX))  # compiles
    start = time.perf_counter()
    draw(mask, shape)
    return time.perf_counter() - start


def _rasterio(shapes: NDArray[np.object_], ids: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.uint32]:
    from rasterio.features import rasterize

    drawn: NDArray[np.uint32] = rasterize(zip(shapes, ids.tolist(), strict=True), out_shape=shape, dtype="uint32")
    return drawn


def _skimage(shapes: NDArray[np.object_], ids: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """Fill one outline after the other; the cells of this benchmark are Polygons without holes."""
    drawn = np.zeros(shape, np.uint32)
    for geometry, value in zip(shapes, ids, strict=True):
        x, y = shapely.get_coordinates(shapely.get_exterior_ring(geometry)).T
        # skimage puts the centre of pixel (0, 0) at (0, 0)
        drawn[polygon(y - 0.5, x - 0.5, shape)] = value
    return drawn


def _checksum(bands: Iterator[NDArray[np.uint32]]) -> int:
    found = 0
    for band in bands:
        found = zlib.crc32(np.ascontiguousarray(band).data, found)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
