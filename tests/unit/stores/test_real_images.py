"""Public images of real microscopes and scanners."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
import zarr

from cohortseg.arrays import Box
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.tables import read_label_image


def test_planes_of_a_tissue_field(shared_data: Path) -> None:
    paths = sorted((shared_data / "vizgen_z").glob("*.tif"))
    assert len(paths) == 21
    for path in paths:
        with open_image(path, FIRST_PAGE) as source:
            assert (source.shape, source.dtype, source.channels) == ((512, 512), np.uint16, ("0",))
            np.testing.assert_array_equal(source.read([0], Box(100, 0, 300, 512))[0], tifffile.imread(path)[100:300])


def test_a_whole_slide_region(shared_data: Path) -> None:
    path = shared_data / "wsi" / "CMU-1-Small-Region.svs"
    with open_image(path, FIRST_PAGE) as source:
        assert source.format == "Aperio SVS"
        assert source.shape == (2967, 2220)
        assert source.is_rgb
        assert source.pixel_size_um is not None
        assert 0.49 < source.pixel_size_um < 0.51
        whole = np.moveaxis(tifffile.imread(path, series=0), -1, 0)
        for box in (Box(0, 0, 500, 500), Box(2900, 2000, 2967, 2220), Box(239, 241, 1201, 1203)):
            np.testing.assert_array_equal(source.read([0, 1, 2], box), whole[:, box.y0 : box.y1, box.x0 : box.x1])


def test_an_ome_zarr_plate_well(shared_data: Path) -> None:
    path = shared_data / "cardiomyocyte_B03_mip_065um.zarr"
    with open_image(path, FIRST_PAGE) as source:
        assert source.channels == ("DAPI", "nanog", "Lamin B1")
        assert source.pixel_size_um == 0.65
        read = source.read(channel_indices(source, ["lamin b1", 0]), Box(100, 200, 500, 700))
    np.testing.assert_array_equal(read, zarr.open_group(path, mode="r")["0"][:, 0][[2, 0], 100:500, 200:700])
    assert read_label_image(path / "labels" / "nuclei").shape == (1080, 1280)


def test_pictures_and_their_labels_have_one_shape(shared_data: Path) -> None:
    for image in sorted((shared_data / "dsb2018" / "images").glob("*"))[::20]:
        with open_image(image, FIRST_PAGE) as source:
            assert source.channels == ("R", "G", "B")
            bgr = cv2.imread(str(image))
            np.testing.assert_array_equal(source.read([2, 1, 0], Box(0, 0, *source.shape)), np.moveaxis(bgr, -1, 0))
            labels = read_label_image(shared_data / "dsb2018" / "labels" / f"{image.stem}.tif")
            assert labels.shape == source.shape
            assert labels.max() > 0
