from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.tables import write_png

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8)


def encode(path: Path, bgr: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


def read_all(path: Path) -> np.ndarray:
    with open_image(path, FIRST_PAGE) as source:
        return source.read(range(len(source.channels)), Box(0, 0, *source.shape))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm"])
def test_colour_pictures_give_red_green_blue(suffix: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"a{suffix}", RGB[..., ::-1])
    with open_image(path, FIRST_PAGE) as source:
        assert source.channels == ("R", "G", "B")
        assert source.is_rgb
        assert source.format == {".png": "PNG", ".bmp": "BMP", ".ppm": "PNM"}[suffix]
        np.testing.assert_array_equal(
            source.read([2, 0], Box(3, 4, 30, 40)), RGB[3:30, 4:40, [2, 0]].transpose(2, 0, 1)
        )


def test_opacity_is_dropped_and_grey_has_one_channel(tmp_path: Path) -> None:
    rgba = np.dstack([RGB[..., ::-1], np.full((40, 50), 128, np.uint8)])
    np.testing.assert_array_equal(read_all(encode(tmp_path / "a.png", rgba)), RGB.transpose(2, 0, 1))
    grey = RNG.integers(0, 60_000, (40, 50), dtype=np.uint16)
    read = read_all(encode(tmp_path / "grey.png", grey))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[0], grey)


def test_a_written_preview_is_read_back(tmp_path: Path) -> None:
    write_png(tmp_path / "preview.png", RGB)
    np.testing.assert_array_equal(read_all(tmp_path / "preview.png"), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".jp2", ".ppm"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_picture_is_an_error_and_not_a_partly_grey_image(suffix: str, kept: float, tmp_path: Path) -> None:
    path = encode(tmp_path / f"a{suffix}", RGB)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageError, match=f"a{suffix}"):
        read_all(path)


def test_a_png_with_a_damaged_byte_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.png", RGB)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_all(path)


def test_a_png_that_claims_a_huge_shape_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.png", RGB)
    content = bytearray(path.read_bytes())
    content[16:24] = (2**30).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_all(path)


@pytest.mark.parametrize("field", ["series", "level", "plane"])
def test_a_picture_has_only_one_page(field: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="this kind of file holds one picture"):
        open_image(encode(tmp_path / "a.png", RGB), replace(FIRST_PAGE, **{field: 1}))
