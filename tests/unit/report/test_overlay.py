import itertools

import numpy as np
import pytest

from cohortseg.report.overlay import overlay


def square(value: int = 1, side: int = 9) -> np.ndarray:
    labels = np.zeros((20, 20), np.uint32)
    labels[5 : 5 + side, 5 : 5 + side] = value
    return labels


def grey(value: int, shape: tuple[int, int] = (20, 20)) -> np.ndarray:
    return np.full((1, *shape), value, np.uint16)


def test_only_the_inner_border_of_a_cell_is_drawn() -> None:
    labels = square()
    picture = overlay(grey(0), labels, limits=[(0, 100)], is_rgb=False)
    drawn = picture.any(axis=-1)
    ring = labels.astype(bool)
    ring[6:13, 6:13] = False
    np.testing.assert_array_equal(drawn, ring)


def test_cells_of_consecutive_labels_differ_in_colour() -> None:
    colours = []
    for label in range(1, 61):
        picture = overlay(grey(0), square(label), limits=[(0, 100)], is_rgb=False)
        colours.append(tuple(picture[5, 5]))
    assert all(a != b for a, b in itertools.pairwise(colours))


def test_limits_map_to_black_and_white_in_one_grey_channel() -> None:
    image = np.array([[[5, 10, 20, 30]]], np.uint16)
    picture = overlay(image, np.zeros((1, 4), np.uint32), limits=[(10, 20)], is_rgb=False)
    np.testing.assert_array_equal(picture[0, [0, 1, 2, 3], 0], [0, 0, 255, 255])
    assert (picture == picture[..., :1]).all()


def test_two_stains_have_two_colours() -> None:
    image = np.zeros((2, 1, 2), np.uint8)
    image[0, 0, 0] = image[1, 0, 1] = 255
    first, second = overlay(image, np.zeros((1, 2), np.uint32), limits=[(0, 255)] * 2, is_rgb=False)[0]
    assert first.argmin() == 0
    assert second.argmin() == 1


def test_colours_of_an_rgb_image_stay_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 9), np.uint8)
    picture = overlay(image, np.zeros((8, 9), np.uint32), limits=[(0, 255)] * 3, is_rgb=True)
    np.testing.assert_array_equal(picture, np.moveaxis(image, 0, -1))


def test_outlines_stand_out_on_bright_cells() -> None:
    image = np.full((3, 20, 20), 240, np.uint8)
    picture = overlay(image, square(), limits=[(0, 255)] * 3, is_rgb=True)
    assert picture[5, 5].min() < 100


def test_cells_of_a_few_pixels_are_tinted_whole() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[::4, ::4] = np.arange(1, 26).reshape(5, 5)
    picture = overlay(grey(50), labels, limits=[(0, 100)], is_rgb=False)
    coloured = picture.max(axis=-1) != picture.min(axis=-1)
    np.testing.assert_array_equal(coloured, labels > 0)


@pytest.mark.parametrize("limits", [(7.0, 7.0), (np.nan, np.nan)])
def test_an_even_or_unknown_range_is_black(limits: tuple[float, float]) -> None:
    picture = overlay(grey(7), np.zeros((20, 20), np.uint32), limits=[limits], is_rgb=False)
    assert not picture.any()


def test_not_a_number_is_black() -> None:
    image = np.array([[[np.nan, 1.0]]], np.float32)
    picture = overlay(image, np.zeros((1, 2), np.uint32), limits=[(0, 1)], is_rgb=False)
    np.testing.assert_array_equal(picture[0, :, 0], [0, 255])
