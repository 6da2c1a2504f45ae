"""Made images of the shapes of the Imaging Hackathon 2022, challenge 7: python tests/benchmarks/cycif.py FOLDER large

`small` is 12 x 3,138 x 2,509, `medium` 44 x 10,101 x 9,666 and `large` 40 x 27,120 x 26,139 px of 16 bits: OME-TIFFs as
ASHLAR writes them (tiles of 1,024 px, deflated, a pyramid in SubIFDs, named channels), the nuclear stain first of every
four. A tile that repeats is in the file once, and every place that shows it points there: 57 GB take 120 MB and a
minute. `quarter` has a quarter of the large one's pixels. The truth of the nuclear stain is known: `truth`. No nucleus
lies on the lines where fields of 2,048 px meet, which the seam audit may notice.
"""

import argparse
import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from made import DIAMETER_PX, mirrored
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.synthetic.noise import smooth_noise
from cohortseg.synthetic.nuclei import Look, chromatin_grain, draw_nuclei, random_nuclei, renumbered
from cohortseg.synthetic.optics import Camera, photograph, uneven_light
from cohortseg.synthetic.placing import hexagonal_sites

Pixels = NDArray[np.uint16]

SHAPES = {
    "small": (12, 3138, 2509),
    "medium": (44, 10101, 9666),
    "large": (40, 27120, 26139),
    "quarter": (40, 13560, 13070),
}
CYCLE = 4
"""Channels of a staining cycle; the first of them is the nuclear stain."""

BASE_PX = 2048
TILE_PX = 1024
PIXEL_UM = 0.65
_PITCH_PX = 34.0
_LOOK = Look(DIAMETER_PX, diameter_spread=0.13, elongation=1.3, waviness=0.035, brightness_spread=0.28)
_CAMERA = Camera(
    blur_px=1.1, haze_px=9.0, haze_share=0.1, counts=2200.0, offset_counts=100.0, background_counts=60.0,
    counts_per_electron=4.0, read_noise_counts=8.0,
)  # fmt: skip


def channel_names(n_channels: int) -> list[str]:
    """Return DNA1, Marker1A, Marker1B, Marker1C, DNA2, ..."""
    return [
        f"DNA{i // CYCLE + 1}" if i % CYCLE == 0 else f"Marker{i // CYCLE + 1}{' ABC'[i % CYCLE]}"
        for i in range(n_channels)
    ]


@cache
def base_field(base_px: int = BASE_PX) -> tuple[Pixels, NDArray[np.uint32]]:
    """Return a square field of nuclei, none of which reaches its border, and its labels from 1 without gaps."""
    rng = np.random.default_rng(7)
    sites = hexagonal_sites((base_px, base_px), pitch_px=_PITCH_PX, rng=rng)
    # 1.5 of the radius for its size, 1.3 for its length, 1.3 for its waves, and room for the blur
    room_px = 1.5 * 1.3 * 1.3 * DIAMETER_PX / 2 + 4
    inside = np.all((sites > room_px) & (sites < base_px - room_px), axis=1)
    nuclei = random_nuclei(sites[inside], _LOOK, rng)
    grain = chromatin_grain(fine_px=1.3, coarse_px=4.0, contrast=0.13, rng=rng)
    light, labels = draw_nuclei(nuclei, (base_px, base_px), grain)
    illumination = uneven_light(labels.shape, fall_off=0.3, rng=rng)
    return photograph(light, illumination=illumination, camera=_CAMERA, rng=rng), renumbered(labels)


@cache
def _marker_field(base_px: int, kind: int) -> Pixels:
    """Return what a marker shows: soft patches without nuclei."""
    rng = np.random.default_rng(kind)
    patches = np.clip(smooth_noise((base_px, base_px), scale_px=40.0, rng=rng), 0, 4).astype(np.float32)
    even = np.ones(patches.shape, np.float32)
    return photograph(0.15 * kind * patches, illumination=even, camera=_CAMERA, rng=rng)


def truth(box: Box, base_px: int = BASE_PX) -> NDArray[np.uint32]:
    """Return the labels of a box of the nuclear stain; a nucleus has the same label in every box that shows it.

    Labels count on from field to field along a row of at most 64 fields.
    """
    labels = base_field(base_px)[1]
    there = mirrored(labels, box.y0, box.x0, box.height, box.width)
    field = (np.arange(box.y0, box.y1) // base_px)[:, None] * 64 + np.arange(box.x0, box.x1) // base_px
    return np.where(there > 0, there + field.astype(np.uint32) * labels.max(), 0).astype(np.uint32)


def n_nuclei(shape: tuple[int, int], base_px: int = BASE_PX) -> int:
    """Return how many nuclei an image of this shape shows, those that its border cuts included."""
    rows, columns = math.ceil(shape[0] / base_px), math.ceil(shape[1] / base_px)
    labels = base_field(base_px)[1]
    count = 0
    for y, x in itertools.product(range(rows), range(columns)):
        height, width = min(base_px, shape[0] - y * base_px), min(base_px, shape[1] - x * base_px)
        whole = height == width == base_px
        shown = labels if whole else mirrored(labels, y * base_px, x * base_px, height, width)
        count += int(labels.max()) if whole else np.unique(shown[shown > 0]).size
    return count


def write_cycif(path: Path, shape: tuple[int, int, int], base_px: int = BASE_PX, tile_px: int = TILE_PX) -> None:
    """Write an image of a (channel, y, x) shape; see the module."""
    levels = list(_level_shapes(shape[1:], tile_px))
    names = channel_names(shape[0])
    options: dict[str, Any] = {
        "dtype": np.uint16, "tile": (tile_px, tile_px), "photometric": "minisblack", "compression": "adobe_deflate",
        "predictor": True, "software": "cohortseg, made image",
    }  # fmt: skip
    pixel = {"PhysicalSizeX": PIXEL_UM, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": PIXEL_UM, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        for level, (height, width) in enumerate(levels):
            n_tiles = shape[0] * math.ceil(height / tile_px) * math.ceil(width / tile_px)
            first = {"subifds": len(levels) - 1, "metadata": {"axes": "CYX", "Channel": {"Name": names}, **pixel}}
            other = {"subfiletype": 1}
            tiles: Iterator[bytes] = itertools.repeat(b"", n_tiles)
            writer.write(tiles, shape=(shape[0], height, width), **options, **(other if level else first))
    _fill_in(path, levels, base_px, tile_px)


def _level_shapes(shape: Sequence[int], tile_px: int) -> Iterator[tuple[int, int]]:
    height, width = shape
    yield height, width
    while max(height, width) > tile_px:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        yield height, width


def _fill_in(path: Path, levels: Sequence[tuple[int, int]], base_px: int, tile_px: int) -> None:
    """Append each tile that differs, and let every place of every page point to its own."""
    with tifffile.TiffFile(path, mode="r+b") as tif:
        handle = tif.filehandle
        series = tif.series[0]
        n_channels = series.shape[0]
        for level, (height, width) in enumerate(levels):
            rows, columns = math.ceil(height / tile_px), math.ceil(width / tile_px)
            for kind in range(CYCLE):
                field = _halved(base_field(base_px)[0] if kind == 0 else _marker_field(base_px, kind), level)
                period = math.lcm(2 * len(field), tile_px) // tile_px
                places = {}
                for y, x in itertools.product(range(min(period, rows)), range(min(period, columns))):
                    tile = _encoded(mirrored(field, y * tile_px, x * tile_px, tile_px, tile_px))
                    handle.seek(0, 2)
                    places[y, x] = handle.tell(), len(tile)
                    handle.write(tile)
                offsets, counts = zip(
                    *(places[y % period, x % period] for y, x in itertools.product(range(rows), range(columns))),
                    strict=True,
                )
                for channel in range(kind, n_channels, CYCLE):
                    page = series.levels[level].pages[channel].aspage()
                    page.tags["TileOffsets"].overwrite(offsets)
                    page.tags["TileByteCounts"].overwrite(counts, dtype="Q")


def _halved(field: Pixels, times: int) -> Pixels:
    for _ in range(times):
        side = len(field) // 2
        field = np.rint(field.reshape(side, 2, side, 2).mean(axis=(1, 3))).astype(np.uint16)
    return field


def _encoded(tile: Pixels) -> bytes:
    return zlib.compress(imagecodecs.delta_encode(tile, axis=1).tobytes(), 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", choices=[*SHAPES])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        path = given.folder / f"cycif-{name}.ome.tif"
        write_cycif(path, SHAPES[name])
        channels, height, width = SHAPES[name]
        print(
            f"{path}: {channels} x {height:,} x {width:,}, {channels * height * width * 2 / 1e9:.1f} GB of pixels in "
            f"{path.stat().st_size / 1e6:.0f} MB, {n_nuclei((height, width)):,} nuclei",
            flush=True,
        )


if __name__ == "__main__":
    main()
