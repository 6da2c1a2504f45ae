"""Slides through OpenSlide, and scanners that write TIFF."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.images import FIRST_PAGE, open_image

RGB = np.random.default_rng(0).integers(0, 255, (192, 320, 3), dtype=np.uint8)
SLIDE = replace(FIRST_PAGE, image_type="slide")


def test_openslide_and_we_read_the_same_slide(shared_data: Path) -> None:
    path = shared_data / "wsi" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as slide:
        expected = np.asarray(slide.read_region((700, 500), 0, (600, 450)))[..., :3]
    box = Box(500, 700, 950, 1300)
    for page in (FIRST_PAGE, SLIDE):
        with open_image(path, page) as source:
            assert (source.shape, source.channels, source.is_rgb) == ((2967, 2220), ("R", "G", "B"), True)
            assert source.pixel_size_um == pytest.approx(0.499)
            np.testing.assert_array_equal(source.read([2, 1, 0], box), np.moveaxis(expected[..., ::-1], -1, 0))


def test_a_level_of_a_slide(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(RGB, tile=(16, 16), photometric="rgb", compression="zlib", metadata=None)
        tif.write(RGB[::2, ::2], tile=(16, 16), photometric="rgb", compression="zlib", metadata=None, subfiletype=1)
    with open_image(tmp_path / "a.tif", replace(SLIDE, level=1)) as source:
        assert source.shape == (96, 160)
        np.testing.assert_array_equal(source.read([1], Box(20, 31, 90, 99))[0], RGB[::2, ::2, 1][20:90, 31:99])
    for wrong in ({"level": 2}, {"series": 1}, {"plane": 1}):
        with pytest.raises(ImageError, match=r"is not in a\.tif"):
            open_image(tmp_path / "a.tif", replace(SLIDE, **wrong))


SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" uuid="urn:uuid:1" sizeX="1000000" sizeY="800000"><barcode>x</barcode>
<image name="i" uuid="urn:uuid:2"><creationDate>2026-01-01T00:00:00Z</creationDate><device model="SCN" version="1"/>
<pixels sizeX="320" sizeY="192"><dimension sizeX="320" sizeY="192" r="0" ifd="0"/>
<dimension sizeX="160" sizeY="96" r="1" ifd="1"/></pixels>
<view sizeX="160000" sizeY="96000" offsetX="1000" offsetY="2000" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.6</numericalAperture><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image></collection></scn>"""
"""A slide of 2000 x 1600 px of 0.5 µm, of which 320 x 192 px from (4, 2) on were scanned."""


def test_leicas_slides_are_read_as_tiff_and_by_openslide(tmp_path: Path) -> None:
    """The one gives the scanned image, the other the slide that it lies in."""
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.scn", bigtiff=True) as tif:
        for level in (1, 2):
            scale = {"resolution": (20_000 / level, 20_000 / level), "resolutionunit": "CENTIMETER"}
            xml = {"description": SCN} if level == 1 else {"subfiletype": 1}
            tif.write(RGB[::level, ::level], **options, **scale, **xml)
    scanned = np.moveaxis(RGB[10:150, 20:300], -1, 0)
    with open_image(tmp_path / "a.scn", FIRST_PAGE) as source:
        assert (source.shape, source.channels, source.is_rgb) == ((192, 320), ("R", "G", "B"), True)
        assert (source.format, source.pixel_size_um) == ("Leica SCN", pytest.approx(0.5))
        np.testing.assert_array_equal(source.read([0, 1, 2], Box(10, 20, 150, 300)), scanned)
    with open_image(tmp_path / "a.scn", SLIDE) as source:
        assert (source.shape, source.format) == ((1600, 2000), "slide (leica)")
        assert source.pixel_size_um == pytest.approx(0.5)
        np.testing.assert_array_equal(source.read([0, 1, 2], Box(14, 22, 154, 302)), scanned)
        assert (source.read([0, 1, 2], Box(1000, 1000, 1010, 1010)) == 255).all(), "glass is white"


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0" + bytes(500)])
def test_a_slide_without_its_other_files_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.mrxs"):
        open_image(tmp_path / "a.mrxs", FIRST_PAGE)


def test_without_openslide_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[microscopes\]'"):
        open_image(tmp_path / "a.mrxs", FIRST_PAGE)


def test_a_multiplexed_qptiff_has_its_stains_by_name(tmp_path: Path) -> None:
    stains = ("DAPI", "Opal 520", "Autofluorescence")
    pixels = np.random.default_rng(1).integers(0, 999, (3, 256, 192), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.qptiff") as tif:
        for level in (1, 2):
            for name, plane in zip(stains, pixels, strict=True):
                tif.write(
                    plane[::level, ::level],
                    tile=(64, 64),
                    compression="lzw",
                    software="PerkinElmer-QPI",
                    description=f'<?xml version="1.0"?><PerkinElmer-QPI-ImageDescription><Name>{name}</Name>'
                    "</PerkinElmer-QPI-ImageDescription>",
                    resolution=(20_000 / level, 20_000 / level),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                    contiguous=False,
                    subfiletype=int(level > 1),
                )
    with open_image(tmp_path / "a.qptiff", FIRST_PAGE) as source:
        assert source.format == "Akoya QPTIFF"
        assert source.channels == stains
        assert source.pixel_size_um == pytest.approx(0.5)
        index = channel_indices(source, ["opal 520"])
        np.testing.assert_array_equal(source.read(index, Box(10, 20, 200, 180))[0], pixels[1, 10:200, 20:180])
