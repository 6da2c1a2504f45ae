"""Real images, against `skimage.measure.regionprops_table` over whole arrays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from cohortseg.arrays import Box, Labels
from cohortseg.quantify import Wanted, measure_cells
from cohortseg.shapes import polygonise
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.tables import read_label_image

STATISTICS = ("mean", "std", "min", "max")
SHAPES = {
    "area_px": "area",
    "centroid_y": "centroid-0",
    "centroid_x": "centroid-1",
    "major_axis_px": "axis_major_length",
    "minor_axis_px": "axis_minor_length",
    "eccentricity": "eccentricity",
    "perimeter_px": "perimeter_crofton",
    "solidity": "solidity",
}
"""Our columns, and what they are called there."""


def measured(image: Path, labels: Labels, block_px: int, nuclei: Labels | None = None) -> pd.DataFrame:
    polygons = polygonise(labels).assign(score=0.5, touches_edge=False)
    with open_image(image, FIRST_PAGE) as source:
        return measure_cells(
            lambda box: labels[box.slices],
            source,
            Wanted(range(len(source.channels)), [str(i) for i in range(len(source.channels))], STATISTICS),
            polygons,
            block_px=block_px,
            pixel_size_um=None,
            read_nuclei=None if nuclei is None else lambda box: nuclei[box.slices],
        )


def by_skimage(image: Path, labels: Labels) -> pd.DataFrame:
    with open_image(image, FIRST_PAGE) as source:
        pixels = np.moveaxis(source.read(range(len(source.channels)), Box(0, 0, *source.shape)), 0, -1)
    wanted = ["label", "orientation", *(name.partition("-")[0] for name in SHAPES.values())]
    intensities = [f"intensity_{name}" for name in STATISTICS]
    return pd.DataFrame(
        regionprops_table(
            labels.astype(np.int64),
            pixels.astype(np.float64),
            [*dict.fromkeys(wanted), *intensities],
        )
    )


def intensities_agree(ours: pd.DataFrame, theirs: pd.DataFrame, start: str = "") -> None:
    channels = sum(name.startswith("intensity_mean") for name in theirs.columns)
    for channel in range(channels):
        for name in STATISTICS:
            np.testing.assert_allclose(
                ours[f"{name}_{start}{channel}"], theirs[f"intensity_{name}-{channel}"], rtol=1e-6, atol=1e-9
            )


@pytest.mark.parametrize("block_px", [37, 256, 4096])
def test_measurements_of_real_images_are_those_of_regionprops_table(shared_data: Path, block_px: int) -> None:
    images = sorted((shared_data / "dsb2018" / "images").glob("*"))[::90]
    for image in images:
        labels = read_label_image(shared_data / "dsb2018" / "labels" / f"{image.stem}.tif")
        ours, theirs = measured(image, labels, block_px), by_skimage(image, labels)
        assert ours["cell_id"].tolist() == theirs["label"].tolist()
        for column, other in SHAPES.items():
            expected = theirs[other] + (0.5 if other.startswith("centroid") else 0)
            # Of straight lines scikit-image has an axis of 0 plus rounding, of which the root is taken.
            np.testing.assert_allclose(ours[column], expected, rtol=1e-6, atol=1e-6, err_msg=f"{image.name} {column}")
        # An axis has no direction, and one that is hardly the longer none that rounding leaves alone.
        turn = (ours["orientation_rad"] - theirs["orientation"])[ours["eccentricity"] > 1e-3]
        np.testing.assert_allclose(np.sin(turn), 0, atol=1e-6, err_msg=image.name)
        intensities_agree(ours, theirs)


@pytest.mark.parametrize("block_px", [100, 4096])
def test_real_nuclei_find_their_cells(shared_data: Path, block_px: int) -> None:
    """Cells of three channels, grown from three of four real nuclei over the light of another channel."""
    image = shared_data / "cardiomyocyte_B03_mip_065um.zarr"
    nuclei = read_label_image(image / "labels" / "nuclei")
    nuclei[500:], nuclei[:, 600:] = 0, 0
    with open_image(image, FIRST_PAGE) as source:
        light = source.read([1], Box(0, 0, *source.shape))[0].astype(float)
    seeds = np.where(nuclei % 4 != 0, nuclei, 0)
    cells = watershed(-light, seeds.astype(np.int32), mask=(light > np.median(light)) | (seeds > 0)).astype(np.uint32)
    cells[520:], cells[:, 620:] = 0, 0
    assert (cells[seeds > 0] == seeds[seeds > 0]).all()
    ours = measured(image, cells, block_px, nuclei).set_index("cell_id")
    assert ours["nucleus_id"].notna().all()
    own = ours["nucleus_id"] == ours.index
    assert own.mean() > 0.9, "but where a nucleus without a cell of its own fills more of the cell"
    assert ours["n_nuclei"].max() > 1
    owned = np.zeros_like(cells)
    for number in np.unique(nuclei[nuclei > 0]):
        under = cells[(nuclei == number) & (cells > 0)]
        if under.size:
            owned[nuclei == number] = np.bincount(under).argmax()
    parts = {"nucleus_": (owned == cells) & (nuclei > 0), "cytoplasm_": nuclei == 0}
    for start, within in parts.items():
        theirs = by_skimage(image, np.where(within, cells, 0)).set_index("label")
        assert ours[f"{start}area_px"][theirs.index].tolist() == theirs["area"].tolist()
        intensities_agree(ours.loc[theirs.index], theirs, start)
        assert (ours[f"{start}area_px"].drop(theirs.index) == 0).all()
