"""Small multiples of cells through z."""

import numpy as np
import pytest

from cohortseg.report.through_z import TILE_PX, draw_cell, draw_multiples

ORANGE, GREY = [255, 110, 0], [150, 150, 150]


@pytest.mark.parametrize("side", [24, TILE_PX, 300])
def test_the_cell_is_outlined_in_orange_and_its_neighbours_in_grey(side: int) -> None:
    labels = np.zeros((side, side), np.uint32)
    labels[:, : side // 2] = 7
    labels[:, side // 2 :] = 8
    image = np.full((1, side, side), 500, np.uint16)
    picture = draw_cell(image, labels, 7, [(0, 1000)], is_rgb=False)
    assert picture.shape == (TILE_PX, TILE_PX, 3)
    assert picture[TILE_PX // 2, TILE_PX // 2 - 1].tolist() == ORANGE
    assert picture[TILE_PX // 2, TILE_PX // 2].tolist() == GREY
    inside = picture[TILE_PX // 2, TILE_PX // 4]
    assert len(set(inside.tolist())) == 1
    assert 100 < inside[0] < 200


def test_without_an_image_the_ground_is_plain() -> None:
    picture = draw_cell(None, np.zeros((40, 40), np.uint32), 1, (), is_rgb=False)
    assert (picture == picture[0, 0]).all()


def test_pictures_lie_in_a_grid_with_their_names() -> None:
    dark = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    sheet = draw_multiples([[dark, None], [dark, dark]], ["cell 1", "cell 22"], ["z 0", "z 1"])
    assert (sheet == 0).all(axis=2).sum() == 3 * TILE_PX**2
    assert (sheet[:, :60] < 200).any(), "names of the rows"
    assert draw_multiples([], [], ["z 0"]).shape[0] > 0
