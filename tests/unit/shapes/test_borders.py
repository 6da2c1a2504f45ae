"""The pixels of cells that touch another label."""

import numpy as np

from cohortseg.shapes.borders import inner_borders


def test_both_sides_of_a_line_between_touching_cells_are_borders() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 2]], np.uint32)
    np.testing.assert_array_equal(inner_borders(labels), [[0, 0, 1, 1, 0, 0]])


def test_a_cell_at_the_edge_of_the_image_is_open_there() -> None:
    assert not inner_borders(np.ones((4, 4), np.uint32)).any()
