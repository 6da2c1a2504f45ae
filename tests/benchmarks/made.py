"""Images and flows for the benchmarks, made on the fly in flat memory."""

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cohortseg.kernels.targets import flow_targets
from cohortseg.synthetic import crowded_field

DIAMETER_PX = 20.0
CELLS_PER_MPX = 850
BASE_PX = 1024
TILE_PX = 512
CHUNK_PX = 1024
_PERIOD_PX = 2 * BASE_PX


def base_field(
    side_px: int, cells_per_mpx: float = CELLS_PER_MPX, seed: int = 1
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Return a crowded square image and its labels."""
    n_cells = max(1, round(cells_per_mpx * side_px**2 / 1e6))
    return crowded_field((side_px, side_px), n_cells=n_cells, diameter_px=DIAMETER_PX, seed=seed)


def mirrored(base: NDArray[np.uint16], y0: int, x0: int, height: int, width: int) -> NDArray[np.uint16]:
    """Return a box of the endless image that repeats `base`, every other time mirrored, so that it has no seams."""
    places = []
    for start, length, period in ((y0, height, base.shape[0]), (x0, width, base.shape[1])):
        place = np.arange(start, start + length) % (2 * period)
        places.append(np.where(place < period, place, 2 * period - 1 - place))
    return base[np.ix_(*places)]


def write_tiff(path: Path, side_px: int, cells_per_mpx: float = CELLS_PER_MPX) -> None:
    """Write a tiled, compressed TIFF of crowded nuclei; what repeats is compressed once."""
    base, _ = base_field(BASE_PX, cells_per_mpx)
    starts = range(0, _PERIOD_PX, TILE_PX)
    encoded = {
        (y0, x0): zlib.compress(mirrored(base, y0, x0, TILE_PX, TILE_PX).tobytes(), 6) for y0 in starts for x0 in starts
    }

    def tiles() -> Iterator[bytes]:
        for y0 in range(0, side_px, TILE_PX):
            for x0 in range(0, side_px, TILE_PX):
                yield encoded[y0 % _PERIOD_PX, x0 % _PERIOD_PX]

    tifffile.imwrite(
        path, tiles(), shape=(side_px, side_px), dtype=base.dtype, tile=(TILE_PX, TILE_PX), compression="zlib",
        bigtiff=True, photometric="minisblack",
    )  # fmt: skip


def write_channels(path: Path, side_px: int, n_channels: int) -> None:
    """Write a tiled, compressed TIFF of several channels, each of other crowded nuclei."""
    bases = [base_field(BASE_PX, seed=seed)[0] for seed in range(n_channels)]
    tiles = (
        mirrored(base, y0, x0, TILE_PX, TILE_PX)
        for base in bases
        for y0 in range(0, side_px, TILE_PX)
        for x0 in range(0, side_px, TILE_PX)
    )
    tifffile.imwrite(
        path, tiles, shape=(n_channels, side_px, side_px), dtype=bases[0].dtype, tile=(TILE_PX, TILE_PX),
        compression="zlib", photometric="minisblack", metadata={"axes": "CYX"}, ome=True,
    )  # fmt: skip


def write_zarr(path: Path, side_px: int, cells_per_mpx: float = CELLS_PER_MPX) -> None:
    """Write a compressed zarr array of crowded nuclei; what repeats is compressed once."""
    import zarr

    base, _ = base_field(BASE_PX, cells_per_mpx)
    n = -(-side_px // CHUNK_PX)
    stored = zarr.create_array(path, shape=(side_px, side_px), chunks=(CHUNK_PX, CHUNK_PX), dtype=base.dtype)
    first_px = min(side_px, _PERIOD_PX)
    stored[:first_px, :first_px] = mirrored(base, 0, 0, first_px, first_px)
    for row in range(n):
        for column in range(n):
            file, same = (path / "c" / str(y) / str(x) for y, x in ((row, column), (row % 2, column % 2)))
            if file != same:
                file.parent.mkdir(exist_ok=True)
                shutil.copyfile(same, file)


def noisy_flows(side_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flows, five times a unit step, and logits of crowded cells, both with noise, as a network gives them."""
    _, labels = base_field(side_px)
    rng = np.random.default_rng(0)
    flow = 5 * flow_targets(labels) + rng.normal(0, 0.5, (2, *labels.shape))
    logits = np.where(labels > 0, 4.0, -4.0) + rng.normal(0, 1, labels.shape)
    return flow.astype(np.float32), logits.astype(np.float32)
