"""Label images as plain TIFF, for programs that read no zarr."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from cohortseg.arrays import Box, Labels
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.labels import LabelSource

TILE_PX = 512
_TILES_IN_BAND = 2
_CLASSIC_BYTES = 2**31
_UM_PER_CM = 1e4


def write_label_tiff(path: Path, labels: LabelSource, *, pixel_size_um: float | None, workers: int) -> None:
    """Write a 2D label image as one tiled TIFF, uint32, compressed by Deflate; its bytes do not depend on `workers`.

    From 2 GiB of labels on, it is a BigTIFF. Memory is bounded by a band of 1,024 rows.

    Parameters
    ----------
    path
        Final file.
    labels
        Opened by `open_labels`, of shape (y, x).
    pixel_size_um
        Kept as the resolution, where known.
    workers
        Tiles compressed at once.
    """
    height, width = labels.shape
    per_cm = None if pixel_size_um is None else _UM_PER_CM / pixel_size_um
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            _tiles(labels, height, width),
            shape=(height, width),
            dtype=np.uint32,
            tile=(TILE_PX, TILE_PX),
            compression="zlib",
            photometric="minisblack",
            bigtiff=4 * height * width >= _CLASSIC_BYTES,
            maxworkers=workers,
            resolution=None if per_cm is None else (per_cm, per_cm),
            resolutionunit=None if per_cm is None else "CENTIMETER",
        )


def _tiles(labels: LabelSource, height: int, width: int) -> Iterator[Labels]:
    """Yield whole tiles row by row, 0 where they reach out of the image."""
    band_px = _TILES_IN_BAND * TILE_PX
    for y0 in range(0, height, band_px):
        band = labels.read(Box(y0, 0, min(y0 + band_px, height), width))
        for y in range(0, len(band), TILE_PX):
            for x in range(0, width, TILE_PX):
                part = band[y : y + TILE_PX, x : x + TILE_PX]
                tile = np.zeros((TILE_PX, TILE_PX), np.uint32)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
