"""Levels made of images without any: the pixels that `cohortseg convert` gives, also half made."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError, StorageError
from cohortseg.stores.image_zarr import halved
from cohortseg.stores.scratch import Scratch
from cohortseg.stores.source import ArraySource, ImageFacts
from cohortseg.viewer import reduced
from cohortseg.viewer.reduced import FIRST_HALVINGS, ReducedLevels


def source_of(pixels: Image) -> ArraySource:
    channels = tuple(map(str, range(len(pixels))))
    return ArraySource(pixels, ImageFacts(Path("a"), pixels.shape[1:], pixels.dtype, channels, False, None, 1, "made"))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduced, "_BLOCK_PX", 16)
    monkeypatch.setattr(reduced, "_BAND_ROWS", 4)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["uint8", "uint16", "float32"]))
def test_levels_are_those_of_the_whole_image(height: int, width: int, dtype: str) -> None:
    rng = np.random.default_rng(height)
    pixels = rng.integers(0, 256, (2, height, width)).astype(dtype)
    scratch = Scratch(Path(gettempdir()), 2**24)
    levels = ReducedLevels(source_of(pixels), [1, 0], scratch)
    levels.build(Event())
    assert levels.failure is None
    assert levels.done == 1
    expected = list(pixels)
    for _ in range(FIRST_HALVINGS):
        expected = [halved(each) for each in expected]
    for level, shape in enumerate(levels.shapes):
        for channel in (0, 1):
            assert expected[channel].shape == shape
            np.testing.assert_array_equal(levels.read(level, channel, Box(0, 0, *shape))[0], expected[channel])
        expected = [halved(each) for each in expected]
    assert max(levels.shapes[-1]) <= 16
    scratch.close()


def test_want_of_room_is_a_fault_and_not_a_black_image() -> None:
    scratch = Scratch(Path(gettempdir()), 600)
    levels = ReducedLevels(source_of(np.full((1, 200, 200), 7, np.uint8)), [0], scratch)
    levels.build(Event())
    assert isinstance(levels.failure, StorageError)
    assert levels.done < 1
    scratch.close()


def test_what_is_made_so_far_is_seen_and_a_fault_is_kept(tmp_path: Path) -> None:
    class Damaged(ArraySource):
        def _read(self, channels: Sequence[int], box: Box) -> Image:
            if box.y0 >= 64:
                raise ImageError("the file ends", "more", "Copy it again.")
            return super()._read(channels, box)

    pixels = np.full((1, 128, 128), 7, np.uint8)
    damaged = Damaged(pixels, ImageFacts(
        Path("a"), (128, 128), pixels.dtype, ("0",), False, None, 1, "made"
    ))  # fmt: skip
    scratch = Scratch(tmp_path, 2**20)
    levels = ReducedLevels(damaged, [0], scratch)
    levels.build(Event())
    assert isinstance(levels.failure, ImageError)
    assert levels.done == 0.5
    for level, shape in enumerate(levels.shapes):
        seen = levels.read(level, 0, Box(0, 0, *shape))[0]
        assert (seen[: shape[0] // 2] == 7).all()
        assert (seen[shape[0] // 2 :] == 0).all()
    scratch.close()


def test_making_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    scratch = Scratch(tmp_path, 2**20)
    levels = ReducedLevels(source_of(np.ones((1, 128, 128), np.uint8)), [0], scratch)
    levels.build(stop)
    assert levels.done == 0
    scratch.close()
