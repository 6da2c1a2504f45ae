from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import zarr

from cohortseg.arrays import Box
from cohortseg.errors import CohortsegError, ImageError, MissingFileError
from cohortseg.stores.images import FIRST_PAGE, open_image

GREY = np.arange(600, dtype=np.uint8).reshape(20, 30)


@pytest.mark.parametrize("name", ["slide.tif", "slide.svs", "slide", "slide.png"])
def test_a_tiff_is_known_by_its_content_whatever_its_name(name: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / name, GREY)
    with open_image(tmp_path / name, FIRST_PAGE) as source:
        assert source.format == "TIFF"
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 20, 30))[0], GREY)


def test_a_png_named_tif_is_read_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "slide.tif").write_bytes(cv2.imencode(".png", GREY)[1].tobytes())
    with open_image(tmp_path / "slide.tif", FIRST_PAGE) as source:
        assert source.format == "PNG"
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 20, 30))[0], GREY)


HOSTILE = {
    "empty.tif": b"",
    "empty.png": b"",
    "text.tif": b"this is not an image\n" * 50,
    "text.png": b"this is not an image\n" * 50,
    "text": b"sample\timage\n",
    "signature.tif": b"II*\0",
    "no pages.tif": b"II*\0\x08\0\0\0",
    "page beyond the end.tif": b"II*\0\xff\xff\0\0" + bytes(40),
    "endless chain of pages.tif": b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0",
    "zeros.tif": bytes(4096),
    "random.tif": b"II*\0\x08\0\0\0" + np.random.default_rng(1).bytes(4096),
    "random.png": b"\x89PNG\r\n\x1a\n" + np.random.default_rng(2).bytes(4096),
    "random.jpg": b"\xff\xd8\xff\xe0" + np.random.default_rng(3).bytes(4096),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_image_gives_one_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(ImageError) as error:
        open_image(tmp_path / name, FIRST_PAGE)
    assert name in str(error.value)


def test_an_error_says_what_was_found_expected_and_to_do(tmp_path: Path) -> None:
    (tmp_path / "slide.tif").write_text("hello, world")
    with pytest.raises(ImageError) as error:
        open_image(tmp_path / "slide.tif", FIRST_PAGE)
    assert error.value.found == "slide.tif is not a TIFF file: it starts with b'hello, w'"
    assert error.value.expected
    assert error.value.remedy


def test_a_missing_file_is_a_missing_file_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"slide\.tif does not exist"):
        open_image(tmp_path / "slide.tif", FIRST_PAGE)
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "slide.tif", FIRST_PAGE)


@pytest.mark.parametrize("image_type", ["tiff", "zarr", "cv2", "nifti"])
def test_a_wrong_image_type_is_refused(image_type: str, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=GREY)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", GREY)[1].tobytes())
    wrong = tmp_path / ("a.zarr" if image_type == "cv2" else "a.png")
    with pytest.raises(CohortsegError, match=r"a\.(png|zarr)|image_type"):
        open_image(wrong, replace(FIRST_PAGE, image_type=image_type))


def test_a_stated_image_type_is_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with open_image(tmp_path / "a.tif", replace(FIRST_PAGE, image_type="cv2")) as source:
        np.testing.assert_array_equal(source.read([0], Box(0, 0, 20, 30))[0], GREY)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ImageError, match="may not be read"):
        open_image(tmp_path / "a.tif", FIRST_PAGE)
