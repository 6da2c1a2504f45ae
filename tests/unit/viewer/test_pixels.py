"""Tiles of any zoom: from the nearest level of the file, or of those made for it, without seams."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, StorageError
from cohortseg.kernels.resample import resample
from cohortseg.stores.images import FIRST_PAGE
from cohortseg.viewer import pixels
from cohortseg.viewer.geometry import count_levels, zoom_of
from cohortseg.viewer.pixels import ImageView

SHAPE = (1500, 2600)


@pytest.fixture
def background() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4096, SHAPE).astype(np.uint16)


def whole(view: ImageView, halvings: int) -> np.ndarray:
    """Return a zoom level put together from its tiles."""
    zoom = zoom_of(SHAPE, count_levels(SHAPE) - 1 - halvings)
    assert zoom is not None
    rows = []
    for row in range(-(-zoom.shape[0] // 512)):
        tiles = []
        for column in range(-(-zoom.shape[1] // 512)):
            box = zoom.tile(column, row)
            assert box is not None
            complete = False
            while not complete:
                (plane,), complete = view.read(zoom, box, [0])
            tiles.append(plane)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def test_levels_of_the_file_are_used(tmp_path: Path, background: Executor, image: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(image, subifds=1, tile=(256, 256))
        file.write(np.full((375, 650), 7, np.uint16), subfiletype=1, tile=(256, 256))
    view = ImageView(tmp_path / "a.ome.tif", FIRST_PAGE, tmp_path, background)
    np.testing.assert_array_equal(whole(view, 0), image)
    assert (whole(view, 2) == 7).all()
    np.testing.assert_allclose(whole(view, 3), 7, rtol=1e-5)
    half = resample(image[None], Box(0, 0, *SHAPE), SHAPE, Box(0, 0, 750, 1300), (750, 1300))[0]
    np.testing.assert_array_equal(whole(view, 1), half)
    assert view.done == 1
    view.close()


def test_levels_are_made_where_the_file_has_none(tmp_path: Path, background: Executor, image: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image, rowsperstrip=16, compression="zlib")
    view = ImageView(tmp_path / "a.tif", FIRST_PAGE, tmp_path, background)
    np.testing.assert_array_equal(whole(view, 0), image)
    quarter = image.reshape(375, 4, 650, 4).mean(axis=(1, 3))
    assert np.abs(whole(view, 2) - quarter).max() <= 1
    sixteenth = image[:1488, :2592].reshape(93, 16, 162, 16).mean(axis=(1, 3))
    assert np.abs(whole(view, 4)[:93, :162] - sixteenth).max() < 300  # of pixels of which each spans 4096
    assert view.done == 1
    view.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


def test_a_fault_far_out_is_told_to_all_who_ask(tmp_path: Path, background: Executor, image: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, tile=(256, 256), compression="zlib")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200_000] = bytes(200_000)
    path.write_bytes(content)
    view = ImageView(path, FIRST_PAGE, tmp_path, background)
    assert view.read(zoom_of(SHAPE, 12), Box(0, 0, 512, 512), [0])[1]
    with pytest.raises(ImageError):
        whole(view, 3)
    with pytest.raises(ImageError):
        whole(view, 3)
    view.close()


def test_the_range_of_values_is_found_from_few_pixels(tmp_path: Path, background: Executor, image: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image)
    view = ImageView(tmp_path / "a.tif", FIRST_PAGE, tmp_path, background)
    least, most, lower, upper = view.value_range(0)
    assert 0 <= least < lower < 100
    assert 4000 < upper < most < 4096
    view.close()


def test_want_of_room_for_smaller_levels_is_told_to_who_waits_for_them(
    tmp_path: Path, background: Executor, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "_REDUCED_BYTES", 1000)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(256, 256))
    view = ImageView(tmp_path / "a.tif", FIRST_PAGE, tmp_path, background)
    zoom = zoom_of(SHAPE, count_levels(SHAPE) - 1 - 3)
    assert zoom is not None
    with suppress(StorageError):  # the making, which this begins, may fail at once
        view.read(zoom, Box(0, 0, *zoom.shape), [0])
    background.submit(int).result()  # after it
    with pytest.raises(StorageError, match="no room"):
        view.done  # noqa: B018
    with pytest.raises(StorageError, match="no room"):
        view.read(zoom, Box(0, 0, *zoom.shape), [0])
    view.close()
