import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image as OmeImage

from cohortseg.arrays import Box, Image
from cohortseg.settings import ConvertSettings
from cohortseg.stores.image_zarr import PyramidFacts, halved, write_pyramid

SETTINGS = ConvertSettings(chunk_px=16, shard_px=32, n_workers=2)
PIXELS = np.random.default_rng(0).integers(0, 2**16, (2, 3, 70, 90), dtype=np.uint16)


class Asked:
    """Gives the pixels of a (channel, z, y, x) array, and keeps what was asked for."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels = pixels
        self.times = np.zeros(pixels.shape, int)
        self.together: set[tuple[int, ...]] = set()
        self.widest_px = 0

    def __call__(self, plane: int, channels: Sequence[int], box: Box) -> Image:
        for channel in channels:
            self.times[(channel, plane, *box.slices)] += 1
        self.together.add(tuple(channels))
        self.widest_px = max(self.widest_px, box.width)
        return self.pixels[(list(channels), plane, *box.slices)]


def write(path: Path, pixels: NDArray[Any], settings: ConvertSettings = SETTINGS, is_rgb: bool = False) -> Asked:
    asked = Asked(pixels)
    names = tuple(f"stain {i}" for i in range(len(pixels)))
    facts = PyramidFacts("slide", pixels.shape, pixels.dtype, names, is_rgb, pixel_size_um=0.5, z_step_um=2.0)
    done: list[int] = []
    write_pyramid(path, facts, asked, settings, done.append)
    assert sum(done) == pixels.size
    return asked


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def means(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the means of blocks of 2 x 2, one by one."""
    height, width = ((n + 1) // 2 for n in pixels.shape)
    return np.array(
        [[pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(width)] for y in range(height)]
    )


def test_every_level_is_the_mean_of_the_level_above_and_is_read_once(tmp_path: Path) -> None:
    asked = write(tmp_path / "a.ome.zarr", PIXELS)
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    levels = [np.asarray(group[str(i)]) for i in range(4)]
    assert "4" not in group
    np.testing.assert_array_equal(levels[0], PIXELS)
    for above, level in itertools.pairwise(levels):
        for index in np.ndindex(2, 3):
            np.testing.assert_array_equal(level[index], np.floor(means(above[index]) + 0.5))
    assert (asked.times == 1).all()
    assert asked.widest_px == SETTINGS.shard_px


whole = hnp.arrays(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
)


@given(whole)
def test_whole_numbers_are_halved_exactly(pixels: NDArray[Any]) -> None:
    found = halved(pixels)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, np.floor(means(pixels.astype(np.float64)) + 0.5))


def test_the_largest_numbers_do_not_overflow() -> None:
    for dtype in (np.uint64, np.int64):
        most = np.iinfo(dtype).max
        np.testing.assert_array_equal(halved(np.full((3, 3), most, dtype)), np.full((2, 2), most, dtype))


def test_real_numbers_are_halved_as_real_numbers() -> None:
    found = halved(np.array([[0.5, 1.0, 4.0], [0.25, 0.25, 5.0]], np.float32))
    np.testing.assert_array_equal(found, np.array([[0.5, 4.5]], np.float32))


def test_the_files_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 4):
        write(tmp_path / f"{workers}.zarr", PIXELS, SETTINGS.model_copy(update={"n_workers": workers}))
    assert files(tmp_path / "1.zarr") == files(tmp_path / "4.zarr")


@pytest.mark.parametrize("n_planes", [1, 3])
def test_ome_zarr_tools_accept_the_file(n_planes: int, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", PIXELS[:, :n_planes])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    image = OmeImage.from_zarr(group)
    assert image.ome_zarr_version == "0.5"
    (multiscale,) = image.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == (["c", "z", "y", "x"] if n_planes > 1 else ["c", "y", "x"])
    scales = [each.coordinateTransformations[0].scale for each in multiscale.datasets]
    step = [2.0] if n_planes > 1 else []
    assert scales[:2] == [[1.0, *step, 0.5, 0.5], [1.0, *step, 1.0, 1.0]]
    omero = group.attrs["ome"]["omero"]  # type: ignore[index,call-overload]
    assert [channel["label"] for channel in omero["channels"]] == ["stain 0", "stain 1"]


def test_colours_are_asked_for_together_and_stains_one_by_one(tmp_path: Path) -> None:
    assert write(tmp_path / "stains.zarr", PIXELS).together == {(0,), (1,)}
    colours = np.concatenate([PIXELS, PIXELS[:1]])[:, :1]
    assert write(tmp_path / "rgb.zarr", colours, is_rgb=True).together == {(0, 1, 2)}


def test_ground_of_zeros_takes_no_files(tmp_path: Path) -> None:
    pixels = np.zeros((1, 1, 64, 96), np.uint16)
    pixels[0, 0, 40, 70] = 7
    write(tmp_path / "a.zarr", pixels)
    assert [name for name in sorted(files(tmp_path / "a.zarr")) if name.startswith("0/c")] == ["0/c/0/1/2"]
    np.testing.assert_array_equal(np.asarray(zarr.open_array(tmp_path / "a.zarr", path="0")), pixels[:, 0])


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_plane: int, _channels: Sequence[int], _box: Box) -> Image:
        raise ValueError("damaged")

    facts = PyramidFacts("a", (1, 1, 50, 50), np.dtype(np.uint8), ("0",), False, pixel_size_um=None, z_step_um=None)
    with pytest.raises(ValueError, match="damaged"):
        write_pyramid(tmp_path / "a.zarr", facts, fail, SETTINGS, lambda _: None)
    assert not list(tmp_path.iterdir())
