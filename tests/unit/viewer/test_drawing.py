"""Outlines where cells end, and channels as light."""

from typing import NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.viewer.drawing import Look, Shown, draw_cells, draw_channels
from cohortseg.viewer.geometry import count_levels, zoom_of
from cohortseg.viewer.labels import LabelPyramid, LabelView


def decoded(content: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture, np.uint8)


@given(arrays(np.uint32, (7, 9), elements=st.integers(0, 3)), st.sampled_from(Look))
def test_tiles_have_the_marks_of_the_whole(labels: NDArray[np.uint32], look: Look) -> None:
    whole = decoded(draw_cells(labels, Box(0, 0, *labels.shape), (255, 128, 0), look))
    for y0, y1 in ((0, 4), (4, 7)):
        for x0, x1 in ((0, 5), (5, 9)):
            tile = Box(y0, x0, y1, x1)
            grown = tile.grown(1, labels.shape)
            drawn = draw_cells(labels[grown.slices], tile.shifted(-grown.y0, -grown.x0), (255, 128, 0), look)
            np.testing.assert_array_equal(decoded(drawn), whole[tile.slices])


@given(arrays(np.uint32, (7, 9), elements=st.integers(0, 3)))
def test_lines_are_left_of_and_above_another_label(labels: NDArray[np.uint32]) -> None:
    whole = decoded(draw_cells(labels, Box(0, 0, *labels.shape), (255, 128, 0), Look.LINES))
    expected = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        for below, right in ((y + 1, x), (y, x + 1)):
            inside = below < labels.shape[0] and right < labels.shape[1]
            expected[y, x] |= inside and labels[y, x] != labels[below, right]
    np.testing.assert_array_equal(whole[..., 3] == 255, expected)
    assert (whole[expected] == [0, 128, 255, 255]).all()


def test_tiny_cells_are_tinted_whole() -> None:
    labels = np.array([[0, 1], [2, 2]], np.uint32)
    drawn = decoded(draw_cells(labels, Box(0, 0, 2, 2), (1, 2, 3), Look.TINT))
    assert (drawn[..., 3] > 0).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_outlines_lie_evenly_around_the_border_of_a_cell(halvings: int, *, with_mask: bool) -> None:
    labels = np.zeros((203, 301), np.uint32)
    labels[60:133, 75:201] = 1
    pyramid = LabelPyramid(3, lambda level: Held(np.ascontiguousarray(labels[:: 2**level, :: 2**level])))
    view = LabelView(labels.shape, pyramid if with_mask else None, lambda box: labels[box.slices], 90)
    zoom = zoom_of(labels.shape, count_levels(labels.shape) - 1 - halvings)
    assert zoom is not None
    drawn = view.outlines(zoom, Box(0, 0, *zoom.shape), (255, 255, 255))
    assert drawn is not None
    y, x = np.nonzero(decoded(drawn)[..., 3])
    step = 2**halvings
    middle = (y.min() + y.max() + 1) * step / 2, (x.min() + x.max() + 1) * step / 2
    # A quarter of a pixel of the screen, and what the cell's size is not divisible by.
    assert middle == pytest.approx(((60 + 133) / 2, (75 + 201) / 2), abs=0.75 * step if halvings else 0)


def test_a_label_image_without_small_levels_is_not_read_whole() -> None:
    view = LabelView(HUGE, LabelPyramid(1, lambda _: Huge()), lambda box: np.zeros(box.shape, np.uint32), 9)
    for level in range(count_levels(HUGE)):
        zoom = zoom_of(HUGE, level)
        assert zoom is not None
        tile = zoom.tile(0, 0)
        assert tile is not None
        drawn = view.outlines(zoom, tile, (1, 2, 3))
        assert (drawn is None) == (zoom.halvings > 3)


HUGE = (100_000, 100_000)


class Huge(NamedTuple):
    """A label image without cells, of which only a part may be asked for."""

    shape: tuple[int, ...] = HUGE

    def read(self, box: Box) -> NDArray[np.uint32]:
        assert box.height * box.width <= 8192**2
        return np.broadcast_to(np.uint32(0), box.shape)


class Held(NamedTuple):
    """A level of a label image."""

    labels: NDArray[np.uint32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.labels.shape

    def read(self, box: Box) -> NDArray[np.uint32]:
        return self.labels[box.slices]


def test_light_adds_up_and_ends_at_white() -> None:
    planes = [np.full((16, 16), 50, np.float32), np.full((16, 16), 100, np.float32)]
    shown = [Shown(0, 0, 100, (255, 0, 0)), Shown(1, 0, 100, (255, 255, 0))]
    picture = decoded(draw_channels(planes, shown))
    assert np.abs(picture[8, 8].astype(int) - [0, 255, 255]).max() < 4
    assert (decoded(draw_channels(planes[:1], [Shown(0, 60, 60, (255, 255, 255))])) < 4).all()
