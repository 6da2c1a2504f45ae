"""Levels of pyramids, from a selected one on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingFileError
from cohortseg.settings import ConvertSettings
from cohortseg.stores.image_levels import ImageLevels
from cohortseg.stores.image_zarr import PyramidFacts, write_pyramid
from cohortseg.stores.images import FIRST_PAGE

IMAGE = np.arange(600 * 900, dtype=np.uint16).reshape(600, 900)


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    """Return a pyramid of three levels and a label that is none."""
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(IMAGE, subifds=3, tile=(128, 128))
        for level in (IMAGE[::2, ::2], IMAGE[::4, ::4], IMAGE[:50, :50]):
            file.write(level, subfiletype=1, tile=(128, 128))
    return path


def test_levels_of_a_tiff_are_found_and_read(tiff: Path, tmp_path: Path) -> None:
    levels = ImageLevels(tiff, FIRST_PAGE, tmp_path, 2**20)
    assert levels.shapes == [(600, 900), (300, 450), (150, 225)]
    assert levels.level(2).read([0], Box(7, 8, 8, 9)) == IMAGE[28, 32]
    levels.close()


def test_a_selected_level_counts_as_the_largest(tiff: Path, tmp_path: Path) -> None:
    levels = ImageLevels(tiff, replace(FIRST_PAGE, level=1), tmp_path, 2**20)
    assert levels.shapes == [(300, 450), (150, 225)]
    assert levels.largest.read([0], Box(7, 8, 8, 9)) == IMAGE[14, 16]
    levels.close()


def test_levels_of_ome_zarr_are_found(tmp_path: Path) -> None:
    facts = PyramidFacts("a", (1, 1, 600, 900), IMAGE.dtype, ("0",), False, 0.5, None)
    settings = ConvertSettings(chunk_px=256, shard_px=256, n_workers=1)
    write_pyramid(tmp_path / "a.zarr", facts, lambda _, __, box: IMAGE[None, *box.slices], settings, lambda _: None)
    levels = ImageLevels(tmp_path / "a.zarr", FIRST_PAGE, tmp_path, 2**20)
    assert levels.shapes == [(600, 900), (300, 450), (150, 225)]
    levels.close()


def test_a_plain_image_has_one_level(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", IMAGE)
    levels = ImageLevels(tmp_path / "plain.tif", FIRST_PAGE, tmp_path, 2**20)
    assert levels.shapes == [(600, 900)]
    levels.close()


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="device"):
        ImageLevels(Path("/dev/zero"), FIRST_PAGE, tmp_path, 2**20)
    with pytest.raises(MissingFileError):
        ImageLevels(tmp_path / "none.tif", FIRST_PAGE, tmp_path, 2**20)
