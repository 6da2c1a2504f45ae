"""The 3D cells of a stack as seen from the first plane."""

import numpy as np
import pytest

from cohortseg.report.projection import draw_projection, project


def test_the_first_plane_that_has_a_cell_is_seen() -> None:
    planes = [np.array([row], np.uint32) for row in ([0, 1, 0, 0], [2, 2, 0, 3], [4, 4, 4, 4])]
    assert project(iter(planes)).tolist() == [[2, 1, 4, 3]]
    with pytest.raises(ValueError, match="at least one plane"):
        project([])


def test_cells_have_the_colours_of_their_depth_and_borders_between_them() -> None:
    seen = np.zeros((60, 60), np.uint32)
    seen[10:30, 10:30], seen[10:30, 30:50], seen[40:50, 10:30] = 1, 2, 3
    picture = draw_projection(seen, np.array([np.nan, 0.0, 6.0, 0.0]), 0, 6)
    zoom = 12
    assert picture.shape[:2] == (60 * zoom + 36, 60 * zoom)
    at = [tuple(picture[y * zoom + 6, x * zoom + 6]) for y, x in ((20, 20), (20, 40), (45, 20))]
    assert at[0] == at[2] != at[1]
    assert sum(map(int, at[1])) > sum(map(int, at[0])), "deeper cells are lighter"
    assert (picture[20 * zoom, 30 * zoom - 1 : 30 * zoom + 1] == 0).all()
    assert (picture[5 * zoom, 5 * zoom] == 20).all()
    foot = picture[60 * zoom :]
    assert (foot == at[0]).all(axis=2).any()
    assert (foot == at[1]).all(axis=2).any()


def test_a_stack_without_cells_has_a_picture() -> None:
    picture = draw_projection(np.zeros((5, 2000), np.uint32), np.array([np.nan]), 3, 3)
    assert picture.shape == (5 + 100, 2000, 3)
    assert (picture[:5] == 20).all()
