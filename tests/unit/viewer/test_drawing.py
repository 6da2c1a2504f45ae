"""Outlines where cells end, and channels as light."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cohortseg.viewer.drawing import Shown, draw_channels, draw_outlines


def decoded(content: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture, np.uint8)


@given(arrays(np.uint32, (7, 9), elements=st.integers(0, 3)))
def test_tiles_have_the_outlines_of_the_whole(labels: NDArray[np.uint32]) -> None:
    whole = decoded(draw_outlines(labels, labels.shape, (255, 128, 0), tinted=False))
    expected = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        for below, right in ((y + 1, x), (y, x + 1)):
            inside = below < labels.shape[0] and right < labels.shape[1]
            expected[y, x] |= inside and labels[y, x] != labels[below, right]
    np.testing.assert_array_equal(whole[..., 3] == 255, expected)
    assert (whole[expected] == [0, 128, 255, 255]).all()
    for y0, y1 in ((0, 4), (4, 7)):
        for x0, x1 in ((0, 5), (5, 9)):
            tile = decoded(
                draw_outlines(labels[y0 : y1 + 1, x0 : x1 + 1], (y1 - y0, x1 - x0), (255, 128, 0), tinted=False)
            )
            np.testing.assert_array_equal(tile, whole[y0:y1, x0:x1])


def test_tiny_cells_are_tinted_whole() -> None:
    labels = np.array([[0, 1], [2, 2]], np.uint32)
    assert (decoded(draw_outlines(labels, (2, 2), (1, 2, 3), tinted=True))[..., 3] > 0).tolist() == [
        [False, True],
        [True, True],
    ]


def test_light_adds_up_and_ends_at_white() -> None:
    planes = [np.full((16, 16), 50, np.float32), np.full((16, 16), 100, np.float32)]
    shown = [Shown(0, 0, 100, (255, 0, 0)), Shown(1, 0, 100, (255, 255, 0))]
    picture = decoded(draw_channels(planes, shown))
    assert np.abs(picture[8, 8].astype(int) - [0, 255, 255]).max() < 4
    assert (decoded(draw_channels(planes[:1], [Shown(0, 60, 60, (255, 255, 255))])) < 4).all()
