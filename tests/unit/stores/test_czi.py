"""CZI files as Zeiss' own library writes them."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, MissingExtraError
from cohortseg.stores.images import FIRST_PAGE, open_image

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 200, (2, 3, 2, 50, 70))  # t, z, c, y, x


def write(path: Path, stack: Any, **plane: int) -> Path:
    """Write a (t, z, c, y, x) array off the origin, with names and 0.25 µm a pixel."""
    with czi.create_czi(str(path)) as document:
        for t, z, c in np.ndindex(stack.shape[:3]):
            document.write(stack[t, z, c][..., None], plane={"T": t, "Z": z, "C": c}, location=(5, 9))
        document.write_metadata("a", channel_names={0: "DAPI", 1: "CD45"}, scale_x=2.5e-7, scale_y=2.5e-7)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_planes_and_channels(dtype: str, tmp_path: Path) -> None:
    stack = STACK.astype(dtype)
    path = write(tmp_path / "a.czi", stack)
    for plane, (t, z) in enumerate(np.ndindex(2, 3)):
        with open_image(path, replace(FIRST_PAGE, plane=plane)) as source:
            assert (source.shape, source.dtype, source.n_planes, source.format) == ((50, 70), dtype, 6, "CZI")
            assert source.channels == ("DAPI", "CD45")
            assert source.pixel_size_um == pytest.approx(0.25)
            np.testing.assert_array_equal(source.read([1, 0, 1], Box(3, 4, 20, 60)), stack[t, z, [1, 0, 1], 3:20, 4:60])


def test_colour_is_red_green_blue_and_scenes_are_series(tmp_path: Path) -> None:
    bgr = RNG.integers(0, 255, (2, 40, 60, 3), dtype=np.uint8)
    with czi.create_czi(str(tmp_path / "a.czi")) as document:
        for scene in range(2):
            document.write(bgr[scene], location=(100 * scene, 0), scene=scene)
        document.write_metadata("a")
    for scene in range(2):
        with open_image(tmp_path / "a.czi", replace(FIRST_PAGE, series=scene)) as source:
            assert (source.channels, source.is_rgb, source.pixel_size_um) == (("R", "G", "B"), True, None)
            np.testing.assert_array_equal(
                source.read([0, 2], Box(0, 5, 40, 60)), bgr[scene][:, 5:, [2, 0]].transpose(2, 0, 1)
            )
    with pytest.raises(ImageError, match=r"series 2 is not in a\.czi"):
        open_image(tmp_path / "a.czi", replace(FIRST_PAGE, series=2))


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    stack = RNG.integers(0, 60_000, (1, 1, 2, 400, 300), dtype=np.uint16)
    boxes = [Box(y, x, y + 50, x + 60) for y in range(0, 350, 25) for x in range(0, 240, 40)]
    with open_image(write(tmp_path / "a.czi", stack), FIRST_PAGE) as source, ThreadPoolExecutor(4) as threads:
        for box, read in zip(boxes, threads.map(lambda box: source.read([0, 1], box), boxes), strict=True):
            np.testing.assert_array_equal(read, stack[0, 0, :, box.y0 : box.y1, box.x0 : box.x1])


@pytest.mark.parametrize("kept", [10, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_one_clear_error(kept: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.czi", STACK.astype(np.uint16))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(ImageError, match=r"a\.czi cannot be read as CZI"), open_image(path, FIRST_PAGE) as source:
        source.read([0], Box(0, 0, 50, 70))


def test_without_the_library_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.czi", STACK.astype(np.uint8))
    monkeypatch.setitem(sys.modules, "pylibCZIrw", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cohortseg\[microscopes\]'"):
        open_image(path, FIRST_PAGE)
