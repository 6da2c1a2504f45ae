"""Plates, wells and other OME-Zarr groups of many images; the independent reader is ome-zarr."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr.format
import ome_zarr.io
import ome_zarr.reader
import pytest
import zarr

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.images import FIRST_PAGE, open_image

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of a default that it deprecates
    import ome_zarr.writer

RNG = np.random.default_rng(0)
WELLS = ("A/1", "B/3")
FIELDS = {(well, field): RNG.integers(0, 60_000, (2, 40, 50), dtype=np.uint16) for well in WELLS for field in "01"}


def write_plate(path: Path, version: str) -> Path:
    """Write FIELDS with ome-zarr's own writer."""
    fmt = {"0.4": ome_zarr.format.FormatV04, "0.5": ome_zarr.format.FormatV05}[version]()
    root = zarr.open_group(path, mode="w", zarr_format=fmt.zarr_format)
    ome_zarr.writer.write_plate_metadata(root, ["A", "B"], ["1", "3"], list(WELLS), fmt=fmt)
    for well in WELLS:
        group = root.require_group(well)
        ome_zarr.writer.write_well_metadata(group, ["0", "1"], fmt=fmt)
        for field in "01":
            image = group.require_group(field)
            ome_zarr.writer.write_image(FIELDS[well, field], image, axes="cyx", fmt=fmt, scale_factors=())
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_holds_the_fields_of_its_wells_as_series(version: str, tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "plate.zarr", version)
    for series, pixels in enumerate(FIELDS.values()):
        with open_image(plate, replace(FIRST_PAGE, series=series)) as source:
            np.testing.assert_array_equal(source.read([0, 1], Box(0, 0, 40, 50)), pixels)
    with pytest.raises(
        ImageError, match=r"series 4 is not in plate\.zarr; it has: 0 \(A/1/0\), 1 \(A/1/1\), 2 \(B/3/0\)"
    ):
        open_image(plate, replace(FIRST_PAGE, series=4))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_well_and_a_field_of_a_plate_are_images_too(version: str, tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "plate.zarr", version)
    with open_image(plate / "B" / "3", replace(FIRST_PAGE, series=1)) as source:
        np.testing.assert_array_equal(source.read([1], Box(3, 4, 40, 50))[0], FIELDS["B/3", "1"][1, 3:, 4:])
    with open_image(plate / "A" / "1" / "1", FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([0, 1], Box(0, 0, 40, 50)), FIELDS["A/1", "1"])


def test_a_plate_is_read_over_the_network(web: Any, tmp_path: Path) -> None:
    write_plate(tmp_path / "plate.zarr", "0.5")
    with open_image(web.at("plate.zarr"), replace(FIRST_PAGE, series=2)) as source:
        np.testing.assert_array_equal(source.read([0, 1], Box(0, 0, 40, 50)), FIELDS["B/3", "0"])


def test_what_bioformats2raw_lists_is_read_over_the_network(web: Any, tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "plate.zarr", "0.4")
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    shutil.copytree(plate / "B" / "3" / "1", tmp_path / "a.zarr" / "0")
    with pytest.raises(ImageError, match="does not list its images"):
        open_image(web.at("a.zarr"), FIRST_PAGE)
    root.create_group("OME", attributes={"series": ["0"]})
    with open_image(web.at("a.zarr"), FIRST_PAGE) as source:
        np.testing.assert_array_equal(source.read([0, 1], Box(0, 0, 40, 50)), FIELDS["B/3", "1"])


@pytest.mark.parametrize("damage", ["no well", "not a list", "well without images"])
def test_a_damaged_plate_is_one_clear_error(damage: str, tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "plate.zarr", "0.4")
    if damage == "no well":
        shutil.rmtree(plate / "A")
    elif damage == "not a list":
        zarr.open_group(plate).attrs["plate"] = {"wells": 5}
    else:
        zarr.open_group(plate / "A" / "1").attrs["well"] = {}
    with pytest.raises(ImageError, match=r"plate\.zarr"):
        open_image(plate, FIRST_PAGE)


def test_the_real_image_is_what_ome_zarr_reads(shared_data: Path) -> None:
    path = shared_data / "cardiomyocyte_B03_mip_065um.zarr"
    location = ome_zarr.io.parse_url(path)
    assert location is not None
    node = next(iter(ome_zarr.reader.Reader(location)()))
    for level, expected in enumerate(node.data):
        with open_image(path, replace(FIRST_PAGE, level=level)) as source:
            whole = source.read([0, 1, 2], Box(0, 0, *source.shape))
        np.testing.assert_array_equal(whole, np.asarray(expected)[:, 0])
