"""No seams: with the built-in network on real and made images, tiles give the cells of the whole image."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cohortseg.api import segment_image
from cohortseg.arrays import Labels
from cohortseg.evaluate.matching import average_precision
from cohortseg.networks import use_threads
from cohortseg.segment import stream
from cohortseg.settings import SegmentSettings
from cohortseg.shapes import rasterise
from cohortseg.synthetic import crowded_field
from cohortseg.tiling import plan_strips, plan_tiles

SIDE_PX = 1024
MARGIN_PX = 64
DIAMETER_PX = 20.0
"""The built-in network's own, so that network pixels are image pixels."""


def segmented(image: NDArray[np.generic], tile_px: int) -> Labels:
    settings = SegmentSettings.model_validate(
        {"device": "cpu", "diameter": DIAMETER_PX, "pipeline": {"infer_size": tile_px, "overlap_margin": MARGIN_PX}}
    )
    return rasterise(segment_image(image, settings=settings), (SIDE_PX, SIDE_PX))


@dataclass(frozen=True)
class Field:
    """An image and its cells, segmented in a single tile."""

    image: NDArray[np.generic]
    whole: Labels


def mosaic(folder: Path, kind: str) -> NDArray[np.uint8]:
    """Return real images of one kind side by side, 256 px of each, as R, G, B."""
    with (folder / "dsb2018" / "manifest.csv").open() as file:
        names = [row["id"] for row in csv.DictReader(file) if row["kind"] == kind]
    pieces = []
    for name in names[::3]:
        picture = cv2.imread(str(folder / "dsb2018" / "images" / f"{name}.png"))
        if picture is not None and min(picture.shape[:2]) >= 256:
            pieces.append(picture[:256, :256, ::-1])
    rows = [np.concatenate(pieces[first : first + 4], axis=1) for first in range(0, 16, 4)]
    return np.roll(np.concatenate(rows), (70, 70), axis=(0, 1))


@pytest.fixture(scope="module", params=["made", "fluorescence", "colour_histology"])
def field(request: pytest.FixtureRequest) -> Field:
    use_threads(2)
    if request.param == "made":
        image: NDArray[np.generic] = crowded_field((SIDE_PX, SIDE_PX), n_cells=900, diameter_px=20.0, seed=1)[0]
    else:
        colours = mosaic(request.getfixturevalue("shared_data"), request.param)
        image = colours if request.param == "colour_histology" else colours[..., 0]
    return Field(image, segmented(image, 2 * SIDE_PX))


def cut_share(labels: Labels, lines: list[int]) -> float:
    """Return the share of the pixels of cells along rows and columns at which a cell ends."""
    ends, pixels = 0, 0
    for plane in (labels, labels.T):
        for line in lines:
            before, after = plane[line - 1], plane[line]
            ends += int(np.count_nonzero(before != after))
            pixels += int(np.count_nonzero((before > 0) | (after > 0)))
    return ends / pixels


def seams(tile_px: int) -> list[int]:
    """Return the lines along which tiles give way to one another and windows hand over their cells."""
    shape = (SIDE_PX, SIDE_PX)
    tiles = plan_tiles(shape, tile_px=tile_px, margin_px=MARGIN_PX, border_px=stream._BORDER_PX, stride_px=8)
    strips = plan_strips(shape, core_px=tile_px, halo_px=round(4 * DIAMETER_PX), strip_px=8192)
    edges = {row[0].core.y0 for strip in strips for row in strip.rows} - {0}
    return sorted({round(seam) for seam in tiles.y.seams} | edges)


@pytest.mark.parametrize("tile_px", [256, 512])
def test_tiles_give_the_cells_of_a_single_tile(field: Field, tile_px: int) -> None:
    tiled = segmented(field.image, tile_px)
    n_whole, n_tiled = int(field.whole.max()), int(tiled.max())
    assert n_whole > 100
    # One cell in 500; a field of a few hundred has one or two whose probability lies just at the threshold.
    assert abs(n_tiled - n_whole) <= max(2, 0.002 * n_whole)
    assert average_precision(field.whole, tiled, (0.9,)).ap[0] >= 0.99
    # Nor are cells cut along the seams: along them as many end as without tiles.
    lines = seams(tile_px)
    assert len(lines) > 1
    assert cut_share(tiled, lines) <= cut_share(field.whole, lines) + 0.005
