"""Sums by cell, against sums by numpy over the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.errors import TableError
from cohortseg.kernels.measure import Sums, add_sums, empty_sums
from cohortseg.tiling.blocks import blocks

IDS = np.array([2, 9, 2**32 - 1], np.uint32)
ANCHORS = np.array([[0, 0], [3, -4], [100, 7]])
ROWS = np.array([[0, 9], [0, 10], [0, 9]])


def by_blocks(labels: Labels, block_px: int) -> Sums:
    sums = empty_sums(IDS, ANCHORS, ROWS)
    rim = np.pad(labels, 1)
    for box in blocks(labels.shape, block_px):
        wide = rim[box.y0 : box.y1 + 2, box.x0 : box.x1 + 2]
        add_sums(wide, (box.y0, box.x0), sums)
    return sums


@settings(deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), st.integers(1, 10))
def test_sums_over_any_blocks_are_those_of_numpy(data: st.DataObject, shape: tuple[int, int], block_px: int) -> None:
    labels = data.draw(hnp.arrays(np.uint32, shape, elements=st.sampled_from([0, *IDS.tolist()])))
    sums = by_blocks(labels, block_px)
    rim = np.pad(labels, 1)
    for row, cell_id in enumerate(IDS):
        y, x = np.nonzero(labels == cell_id)
        dy, dx = y - ANCHORS[row, 0], x - ANCHORS[row, 1]
        expected = [y.size, dy.sum(), dx.sum(), (dy * dy).sum(), (dx * dx).sum(), (dy * dx).sum()]
        assert sums.moments[row].tolist() == expected
        steps = [[int((rim[y + 1 + i, x + 1 + j] != cell_id).sum()) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
        straight = steps[0][1] + steps[1][0] + steps[1][2] + steps[2][1]
        diagonal = steps[0][0] + steps[0][2] + steps[2][0] + steps[2][2]
        assert sums.crossings[row].tolist() == [straight, diagonal]
        for line, (first, last) in enumerate(sums.spans[sums.starts[row] : sums.starts[row + 1]].tolist()):
            columns = x[y == line]
            assert (first, last) == (columns.min(), columns.max()) if columns.size else first > last


def test_a_cell_far_from_the_corner_loses_no_digits() -> None:
    far = 1_000_000_000
    sums = empty_sums(np.array([1], np.uint32), np.array([[far, far]]), np.array([[far, far + 2]]))
    add_sums(np.pad(np.ones((2, 2), np.uint32), 1), (far, far), sums)
    assert sums.moments[0].tolist() == [4, 2, 2, 2, 2, 1]
    assert sums.spans.tolist() == [[far, far + 1]] * 2


def test_a_cell_that_the_table_has_not_is_named() -> None:
    with pytest.raises(TableError, match="a cell 5 "):
        by_blocks(np.array([[2, 5]], np.uint32), 4)


@pytest.mark.parametrize("rows", [[1, 3], [0, 2], [0, 0]])
def test_a_cell_that_is_not_where_the_table_has_it_is_named(rows: list[int]) -> None:
    sums = empty_sums(np.array([7], np.uint32), np.zeros((1, 2), np.int64), np.array([rows]))
    with pytest.raises(TableError, match="a cell 7 "):
        add_sums(np.pad(np.full((3, 2), 7, np.uint32), 1), (0, 0), sums)
