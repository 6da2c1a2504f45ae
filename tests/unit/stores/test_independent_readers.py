"""Made files of many axes orders and dtypes, against readers that are not ours: tifffile, ome-zarr's zarr, imageio."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import zarr

from cohortseg.arrays import Box
from cohortseg.stores.images import FIRST_PAGE, open_image

SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 21, "X": 34}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


def made(axes: str, dtype: str) -> Any:
    """Return an array of these axes in which every pixel is different, as far as the dtype allows."""
    shape = tuple(SIZES[axis] for axis in axes)
    return np.arange(np.prod(shape)).astype(dtype).reshape(shape)


def assert_all_planes(path: Path, whole: Any, axes: str) -> None:
    """Compare every plane and channel of a file with its whole array; planes count in the order of its axes."""
    counting = [axis for axis in axes if axis in "TZ"]
    ordered = whole.transpose([axes.index(axis) for axis in (*counting, *"CYX"[axes.count("C") == 0 :])])
    planes = ordered.reshape(-1, SIZES["C"] if "C" in axes else 1, SIZES["Y"], SIZES["X"])
    box = Box(2, 5, 20, 33)
    for number, plane in enumerate(planes):
        with open_image(path, replace(FIRST_PAGE, plane=number)) as source:
            assert (source.shape, source.n_planes, source.dtype) == (plane.shape[1:], len(planes), whole.dtype)
            channels = range(len(plane))
            np.testing.assert_array_equal(source.read(channels, box), plane[:, box.y0 : box.y1, box.x0 : box.x1])


ORDERS = ["".join(order) + "YX" for n in range(4) for order in permutations("TCZ", n)]


@pytest.mark.parametrize("axes", ORDERS)
def test_ome_tiff_of_any_axes_order(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", made(axes, "uint16"), ome=True, metadata={"axes": axes}, tile=(16, 16))
    assert_all_planes(tmp_path / "a.ome.tif", tifffile.imread(tmp_path / "a.ome.tif"), axes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_of_any_dtype(dtype: str, byteorder: Any, tmp_path: Path) -> None:
    array = made("CYX", dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", array, byteorder=byteorder, compression="zlib", photometric="minisblack", tile=(16, 16)
    )
    assert_all_planes(tmp_path / "a.tif", tifffile.imread(tmp_path / "a.tif"), "CYX")


@pytest.mark.parametrize(
    "compression", ["zlib", "lzw", "zstd", "lzma", "packbits", "jpegxl", "jpeg2000", "lerc", "png"]
)
def test_tiff_of_any_codec(compression: str, tmp_path: Path) -> None:
    array = made("YX", "uint16")
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, tile=(16, 16))
    assert_all_planes(tmp_path / "a.tif", tifffile.imread(tmp_path / "a.tif"), "YX")


@pytest.mark.parametrize("axes", [order for order in ORDERS if order == "".join(sorted(order, key="TZCYX".index))])
def test_imagej_hyperstacks(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", made(axes, "uint16"), imagej=True, metadata={"axes": axes})
    assert_all_planes(tmp_path / "a.tif", tifffile.imread(tmp_path / "a.tif"), axes)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["TCZYX", "CZYX", "ZYX", "CYX", "YX", "YXC", "ZTCYX", "XY", "XCY"])
def test_ome_zarr_of_any_axes_order(zarr_format: Any, axes: str, tmp_path: Path) -> None:
    array, version = made(axes, "uint16"), "0.4" if zarr_format == 2 else "0.5"
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    group.create_array("0", data=array, chunks=tuple(min(n, 2 if n < 5 else 16) for n in array.shape))
    image = {
        "axes": [{"name": axis.lower(), "type": "space"} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * len(axes)}]}],
        "version": version,
    }
    group.attrs.update({"multiscales": [image]} if zarr_format == 2 else {"ome": {"multiscales": [image]}})
    if axes == "YXC":  # three channels of 16 bits at the end are a colour picture
        with open_image(tmp_path / "a.zarr", FIRST_PAGE) as source:
            assert source.is_rgb
    assert_all_planes(tmp_path / "a.zarr", zarr.open_array(tmp_path / "a.zarr" / "0")[:], axes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_of_any_dtype(dtype: str, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=made("CYX", dtype), chunks=(2, 16, 16))
    assert_all_planes(tmp_path / "a.zarr", made("CYX", dtype), "CYX")


@pytest.mark.parametrize("n_samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_with_or_without_opacity(n_samples: int, dtype: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (21, 34, n_samples)).astype(dtype)
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if n_samples == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", tile=(16, 16), **options)
    zarr.create_array(tmp_path / "a.zarr", data=colours, attributes={"_ARRAY_DIMENSIONS": ["y", "x", "c"]})
    iio.imwrite(tmp_path / "a.png", colours[..., :4], extension=".png") if dtype == "uint8" else None
    for name in ("a.tif", "a.zarr", *(["a.png"] if dtype == "uint8" else [])):
        with open_image(tmp_path / name, FIRST_PAGE) as source:
            assert (source.channels, source.is_rgb, source.dtype) == (("R", "G", "B"), True, dtype)
            read = source.read([0, 1, 2], Box(0, 0, 21, 34))
        np.testing.assert_array_equal(read, np.moveaxis(colours[..., :3], -1, 0))


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "webp", "tif"])
def test_pictures_are_what_imageio_reads(suffix: str, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50))[..., None] + np.array([0, 60, 120])
    iio.imwrite(tmp_path / f"a.{suffix}", smooth.astype(np.uint8))
    expected = iio.imread(tmp_path / f"a.{suffix}")
    with open_image(tmp_path / f"a.{suffix}", FIRST_PAGE) as source:
        read = source.read([0, 1, 2], Box(0, 0, 40, 50)).astype(int)
    assert np.abs(read - np.moveaxis(expected, -1, 0)).max() <= (2 if suffix in ("jpg", "webp") else 0)


def test_an_image_over_several_files(tmp_path: Path) -> None:
    array = made("CYX", "uint16")
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    blocks = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="c{i}.ome.tif">{uuids[i]}</UUID></TiffData>'
        for i in range(3)
    )
    for i in range(3):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[i]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="34" SizeY="21" '
            'SizeZ="1" SizeC="3" SizeT="1"><Channel ID="Channel:0:0" Name="DAPI"/><Channel ID="Channel:0:1" '
            f'Fluor="Cy3"/><Channel ID="Channel:0:2"/>{blocks}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"c{i}.ome.tif", array[i], description=xml, metadata=None, compression="zlib")
    with open_image(tmp_path / "c0.ome.tif", FIRST_PAGE) as source:
        assert source.channels == ("DAPI", "Cy3", "2")
        np.testing.assert_array_equal(source.read([2, 0, 1], Box(0, 0, 21, 34)), array[[2, 0, 1]])
