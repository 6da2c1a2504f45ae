"""Images behind URLs are what they are as files, also over connections that drop."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
import zarr

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingExtraError, MissingFileError
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.location import RemoteLocation, image_location
from cohortseg.stores.remote import TRIES

PIXELS = np.random.default_rng(0).integers(0, 60_000, (3, 150, 170), dtype=np.uint16)
BOX = Box(30, 50, 140, 160)


def write_tiff(folder: Path) -> str:
    tifffile.imwrite(folder / "a.tif", PIXELS, tile=(64, 64), compression="zlib", photometric="minisblack", ome=True)
    return "a.tif"


def write_zarr(folder: Path, **options: Any) -> str:
    zarr.create_array(folder / "a.zarr", shape=PIXELS.shape, dtype="u2", chunks=(1, 64, 64), **options)[...] = PIXELS
    return "a.zarr"


WRITERS = {
    "OME-TIFF": write_tiff,
    "zarr v2": lambda folder: write_zarr(folder, zarr_format=2),
    "zarr v3": lambda folder: write_zarr(folder),
    "sharded zarr": lambda folder: write_zarr(folder, shards=(1, 128, 128)),
    "zarr by codecs left to zarr": lambda folder: write_zarr(
        folder, shards=(1, 128, 128), filters=zarr.codecs.TransposeCodec(order=(0, 2, 1))
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("drops", [0, TRIES - 1])
def test_a_url_gives_what_the_file_gives_also_where_connections_drop(
    kind: str, drops: int, web: Any, tmp_path: Path
) -> None:
    name = WRITERS[kind](tmp_path)
    web.drops = drops
    with open_image(tmp_path / name, FIRST_PAGE) as local, open_image(web.at(name), FIRST_PAGE) as source:
        assert (source.shape, source.dtype, source.channels) == (local.shape, local.dtype, local.channels)
        read = source.read([2, 0], BOX)
        np.testing.assert_array_equal(read, local.read([2, 0], BOX))
        np.testing.assert_array_equal(read, PIXELS[[2, 0], BOX.y0 : BOX.y1, BOX.x0 : BOX.x1])


@pytest.mark.parametrize("kind", ["OME-TIFF", "zarr v3", "sharded zarr"])
def test_an_object_store_gives_what_the_file_gives_of_the_ranges_asked_for(
    kind: str, web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server answers as S3 does where a public bucket is read by its path."""
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    name = WRITERS[kind](bucket)
    endpoint = f"http://127.0.0.1:{web.server_address[1]}"
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "endpoint_url": endpoint})
    with open_image(RemoteLocation(f"s3://bucket/{name}"), FIRST_PAGE) as source:
        box = Box(0, 0, 60, 60)
        np.testing.assert_array_equal(source.read([2], box), PIXELS[[2], :60, :60])
        np.testing.assert_array_equal(source.read([2, 0], BOX), PIXELS[[2, 0], BOX.y0 : BOX.y1, BOX.x0 : BOX.x1])
    with pytest.raises(MissingFileError, match=r"s3://bucket/lost\.tif does not exist"):
        open_image(RemoteLocation("s3://bucket/lost.tif"), FIRST_PAGE)


def test_an_ome_zarr_of_a_microscope_is_read_over_the_network(web: Any, shared_data: Path, tmp_path: Path) -> None:
    name = "cardiomyocyte_B03_mip_065um.zarr"
    shutil.copytree(shared_data / name, tmp_path / name)
    with open_image(shared_data / name, FIRST_PAGE) as local, open_image(web.at(name), FIRST_PAGE) as source:
        assert (source.channels, source.pixel_size_um) == (local.channels, local.pixel_size_um)
        np.testing.assert_array_equal(source.read([1], BOX), local.read([1], BOX))


def test_only_what_a_box_needs_is_sent(web: Any, tmp_path: Path) -> None:
    large = np.random.default_rng(1).integers(0, 60_000, (2048, 2048), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", large, tile=(256, 256))
    with open_image(web.at("a.tif"), FIRST_PAGE) as source:
        source.read([0], Box(1000, 1000, 1010, 1010))
    assert web.sent_bytes < large.nbytes / 10


@pytest.mark.parametrize("kind", ["OME-TIFF", "zarr v3"])
def test_a_connection_that_keeps_dropping_is_one_clear_error(kind: str, web: Any, tmp_path: Path) -> None:
    name = WRITERS[kind](tmp_path)
    web.drops = 1000
    with pytest.raises(ImageError, match=rf"{name}.* cannot be read \({TRIES} tries\)") as error:
        open_image(web.at(name), FIRST_PAGE)
    assert "run again" in str(error.value)
    assert max(web.asked.values()) <= 2 * TRIES


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (503, TRIES), (429, TRIES)])
@pytest.mark.parametrize("kind", ["OME-TIFF", "zarr v3"])
def test_a_refusal_is_not_tried_again_and_a_busy_server_is(
    kind: str, status: int, tries: int, web: Any, tmp_path: Path
) -> None:
    name = WRITERS[kind](tmp_path)
    web.status = status
    with pytest.raises(ImageError, match=rf"cannot be read \({tries} tries\).*{status}"):
        open_image(web.at(name), FIRST_PAGE)


@pytest.mark.parametrize("name", ["absent.tif", "absent.zarr"])
def test_nothing_behind_a_url_is_a_clear_error(name: str, web: Any) -> None:
    with pytest.raises((MissingFileError, ImageError), match=name):
        open_image(web.at(name), FIRST_PAGE)


def test_a_server_that_is_not_there_is_a_clear_error(web: Any) -> None:
    with pytest.raises(ImageError, match=rf"cannot be read \({TRIES} tries\)"):
        open_image(RemoteLocation("http://127.0.0.1:9/a.tif"), FIRST_PAGE)


def test_a_server_that_sends_all_for_a_range_is_refused(web: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2000, 2000), np.uint16))
    web.ranges = False
    with pytest.raises(ImageError, match="ranges"):
        open_image(web.at("a.tif"), FIRST_PAGE)


def test_a_picture_is_not_read_over_the_network(web: Any) -> None:
    with pytest.raises(ImageError, match=r"a\.png cannot be read over the network") as error:
        open_image(web.at("a.png"), FIRST_PAGE)
    assert "image_type" in error.value.remedy


def test_a_name_that_tells_nothing_needs_an_image_type(web: Any, tmp_path: Path) -> None:
    (tmp_path / write_tiff(tmp_path)).rename(tmp_path / "image")
    with open_image(web.at("image?token=7"), replace(FIRST_PAGE, image_type="tiff")) as source:
        assert source.shape == PIXELS.shape[1:]


def test_a_message_shows_no_password_or_token() -> None:
    location = image_location("https://me:secret@host.org/slides/a.tif?signature=secret")
    assert isinstance(location, RemoteLocation)
    assert (str(location), location.name) == ("https://host.org/slides/a.tif", "a.tif")
    assert "secret" not in repr(location)


def test_without_fsspec_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[remote\]'"):
        open_image(RemoteLocation("https://host.org/a.tif"), FIRST_PAGE)
