"""Images and flows for the benchmarks, made on the fly in flat memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cohortseg.kernels.targets import flow_targets
from cohortseg.synthetic import crowded_field

BASE_PX = 1000
TILE_PX = 512


def base_field(side_px: int, diameter_px: float, seed: int = 1) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Return a crowded square image and its labels, about 850 cells a Mpx at 20 px."""
    n_cells = max(1, round(0.34 * side_px**2 / diameter_px**2))
    return crowded_field((side_px, side_px), n_cells=n_cells, diameter_px=diameter_px, seed=seed)


def mirrored(base: NDArray[np.uint16], y0: int, x0: int, height: int, width: int) -> NDArray[np.uint16]:
    """Return a box of the endless image that repeats `base`, every other time mirrored, so that it has no seams."""
    places = []
    for start, length, period in ((y0, height, base.shape[0]), (x0, width, base.shape[1])):
        place = np.arange(start, start + length) % (2 * period)
        places.append(np.where(place < period, place, 2 * period - 1 - place))
    return base[np.ix_(*places)]


def tiles(base: NDArray[np.uint16], shape: tuple[int, int]) -> Iterator[NDArray[np.uint16]]:
    """Yield the tiles of an image of this shape, row by row."""
    for y0 in range(0, shape[0], TILE_PX):
        for x0 in range(0, shape[1], TILE_PX):
            yield mirrored(base, y0, x0, TILE_PX, TILE_PX)


def write_tiff(path: Path, shape: tuple[int, int], diameter_px: float) -> None:
    """Write a tiled, compressed TIFF of crowded nuclei, tile by tile."""
    base, _ = base_field(BASE_PX, diameter_px)
    tifffile.imwrite(
        path, tiles(base, shape), shape=shape, dtype=base.dtype, tile=(TILE_PX, TILE_PX),
        compression="zlib", bigtiff=True, photometric="minisblack",
    )  # fmt: skip


def noisy_flows(side_px: int, diameter_px: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flows, five times a unit step, and logits of crowded cells, both with noise, as a network gives them."""
    _, labels = base_field(side_px, diameter_px)
    rng = np.random.default_rng(0)
    flow = 5 * flow_targets(labels) + rng.normal(0, 0.5, (2, *labels.shape))
    logits = np.where(labels > 0, 4.0, -4.0) + rng.normal(0, 1, labels.shape)
    return flow.astype(np.float32), logits.astype(np.float32)
