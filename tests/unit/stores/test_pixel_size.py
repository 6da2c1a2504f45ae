"""The side of a pixel: what the file says, what the settings say, and what if they disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.errors import ImageError
from cohortseg.settings import SegmentSettings
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.source import PageSelection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image whose metadata say 0.5 µm."""
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((20, 30), np.uint8), ome=True, metadata=metadata)
    return tmp_path / "a.ome.tif"


@pytest.mark.parametrize(("given", "holds"), [(None, 0.5), (0.5, 0.5), (0.49, 0.49), (0.52, 0.52)])
def test_a_size_that_agrees_holds(given: float | None, holds: float, path: Path) -> None:
    with open_image(path, replace(FIRST_PAGE, pixel_size_um=given)) as source:
        assert source.pixel_size_um == pytest.approx(holds)


def test_a_size_that_contradicts_the_file_is_refused_unless_the_settings_insist(path: Path) -> None:
    settings = SegmentSettings(pixel_size_um=0.65)
    with pytest.raises(ImageError) as error:
        open_image(path, PageSelection.of(settings))
    assert error.value.found == "pixel_size_um is 0.65, and the metadata of a.ome.tif say 0.5 µm"
    assert "override_pixel_size: true" in error.value.remedy
    insisting = settings.model_copy(update={"override_pixel_size": True})
    with open_image(path, PageSelection.of(insisting)) as source:
        assert source.pixel_size_um == 0.65


def test_a_file_that_says_nothing_takes_what_is_given(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    with open_image(tmp_path / "a.tif", replace(FIRST_PAGE, pixel_size_um=0.3)) as source:
        assert source.pixel_size_um == 0.3
