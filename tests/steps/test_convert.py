from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from cohortseg.arrays import Box
from cohortseg.cli import app
from cohortseg.errors import ImageError, MissingFileError, SettingsError
from cohortseg.settings import ConvertSettings, SegmentSettings
from cohortseg.steps.convert import convert_image
from cohortseg.stores.images import FIRST_PAGE, open_image

SETTINGS = ConvertSettings(chunk_px=16, shard_px=32, n_workers=2)
PIXELS = np.random.default_rng(0).integers(0, 2**16, (3, 2, 50, 70), dtype=np.uint16)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """An OME-TIFF of (z, channel, y, x) = (3, 2, 50, 70), 0.65 µm a pixel, in tiles of 16 px."""
    path = tmp_path / "slide.ome.tif"
    um = {"PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm"}
    metadata: dict[str, Any] = {"axes": "ZCYX", "Channel": {"Name": ["DNA", "CD45"]}, **um}
    tifffile.imwrite(path, PIXELS, tile=(16, 16), compression="zlib", metadata=metadata)
    return path


def convert(image: Path, output: Path, *, overwrite: bool = False) -> str:
    return convert_image(image, output, SegmentSettings(), SETTINGS, overwrite=overwrite)


def test_all_planes_and_channels_are_there_with_their_names_and_sizes(slide: Path, tmp_path: Path) -> None:
    said = convert(slide, tmp_path / "out.ome.zarr")
    assert said.endswith("out.ome.zarr: 2 channels, 3 planes of 50 x 70 px, uint16")
    for plane in range(3):
        with open_image(tmp_path / "out.ome.zarr", replace(FIRST_PAGE, plane=plane)) as copy:
            assert copy.channels == ("DNA", "CD45")
            assert copy.pixel_size_um == pytest.approx(0.65)
            assert copy.n_planes == 3
            np.testing.assert_array_equal(copy.read([0, 1], Box(0, 0, 50, 70)), PIXELS[plane])


def test_a_level_of_the_pyramid_opens_with_its_own_pixel_size(slide: Path, tmp_path: Path) -> None:
    convert(slide, tmp_path / "out.ome.zarr")
    with open_image(tmp_path / "out.ome.zarr", replace(FIRST_PAGE, level=1)) as half:
        assert half.shape == (25, 35)
        assert half.pixel_size_um == pytest.approx(1.3)


def test_the_z_step_is_the_images_unless_it_is_given(slide: Path, tmp_path: Path) -> None:
    um = {"PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(tmp_path / "z.ome.tif", PIXELS[:, 0], metadata={"axes": "ZYX", **um})

    def step(image: Path, **given: Any) -> float | None:
        settings = SETTINGS.model_copy(update=given)
        convert_image(image, tmp_path / "out.zarr", SegmentSettings(), settings, overwrite=True)
        with open_image(tmp_path / "out.zarr", FIRST_PAGE) as copy:
            return copy.z_step_um

    assert (step(slide), step(slide, z_step_um=3.0)) == (None, 3.0)
    assert (step(tmp_path / "z.ome.tif"), step(tmp_path / "z.ome.tif", z_step_um=2.05)) == (2.0, 2.05)
    with pytest.raises(ImageError, match=r"--z-step-um is 3, and the metadata of z\.ome\.tif say 2 µm"):
        step(tmp_path / "z.ome.tif", z_step_um=3.0)
    assert step(tmp_path / "z.ome.tif", z_step_um=3.0, override_z_step=True) == 3.0


def test_what_is_there_stays_unless_it_is_to_be_replaced(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    convert(slide, output)
    with pytest.raises(SettingsError, match="--overwrite"):
        convert(slide, output)
    (output / "old").touch()
    convert(slide, output, overwrite=True)
    assert not (output / "old").exists()


def test_a_folder_that_is_no_zarr_is_never_replaced(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "work.zarr").mkdir()
    (tmp_path / "work.zarr" / "thesis.txt").touch()
    with pytest.raises(SettingsError, match="no zarr folder"):
        convert(slide, tmp_path / "work.zarr", overwrite=True)
    assert (tmp_path / "work.zarr" / "thesis.txt").is_file()


def test_the_image_itself_is_never_replaced(slide: Path, tmp_path: Path) -> None:
    convert(slide, tmp_path / "out.zarr")
    with pytest.raises(SettingsError, match="the image itself"):
        convert(tmp_path / "out.zarr", tmp_path / "out.zarr", overwrite=True)


def test_other_names_and_images_that_are_not_there_are_refused(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ends in \.ome\.zarr"):
        convert(slide, tmp_path / "out.tif")
    with pytest.raises(MissingFileError):
        convert(tmp_path / "absent.tif", tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["slide.ome.tif"]


def test_the_command_line_converts(slide: Path, tmp_path: Path) -> None:
    options = ["--output", str(tmp_path / "o.ome.zarr"), "--chunk-px", "32", "--shard-px", "64", "--z-step-um", "1.5"]
    done = CliRunner().invoke(app, ["convert", str(slide), *options])
    assert done.exit_code == 0, done.output
    with open_image(tmp_path / "o.ome.zarr", replace(FIRST_PAGE, plane=2)) as copy:
        np.testing.assert_array_equal(copy.read([1], Box(3, 4, 50, 70))[0], PIXELS[2, 1, 3:, 4:])


@pytest.mark.parametrize("name", ["wsi/CMU-1-Small-Region.svs", "cardiomyocyte_B03_mip_065um.zarr"])
def test_real_images_are_copied_pixel_for_pixel(name: str, shared_data: Path, tmp_path: Path) -> None:
    with open_image(shared_data / name, FIRST_PAGE) as image:
        convert_image(
            shared_data / name, tmp_path / "out.ome.zarr", SegmentSettings(), ConvertSettings(), overwrite=False
        )
        with open_image(tmp_path / "out.ome.zarr", FIRST_PAGE) as copy:
            assert (copy.shape, copy.dtype, copy.channels) == (image.shape, image.dtype, image.channels)
            assert copy.is_rgb == image.is_rgb
            assert copy.pixel_size_um == pytest.approx(image.pixel_size_um, rel=1e-3)
            channels, box = range(len(image.channels)), Box(100, 200, 1000, 1200)
            np.testing.assert_array_equal(copy.read(channels, box), image.read(channels, box))
