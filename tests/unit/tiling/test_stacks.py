"""Pairs of planes that are compared."""

import pytest

from cohortseg.tiling.stacks import pairs_of


@pytest.mark.parametrize(
    ("z_indices", "max_gap", "max_step", "expected"),
    [
        ([], 2, None, []),
        ([5], 2, None, []),
        ([2, 0, 1], 0, None, [(0, 1), (1, 2)]),
        ([0, 1, 2, 3], 1, None, [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]),
        ([0, 1, 2, 3], 9, None, [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]),
        ([-3, 4, 20], 0, None, [(-3, 4), (4, 20)]),
        ([0, 1, 3, 4], 1, None, [(0, 1), (1, 3), (3, 4)]),
        ([0, 1, 3, 4], 2, None, [(0, 1), (1, 3), (3, 4), (0, 3), (1, 4)]),
        ([0, 1, 3, 4], 2, 2, [(0, 1), (1, 3), (3, 4)]),
        ([0, 1, 3, 4], 2, 1, [(0, 1), (3, 4)]),
        ([0, 1], 0, 0, []),
    ],
)
def test_neighbours_come_first_then_planes_with_few_between_them_the_nearest_first(
    z_indices: list[int], max_gap: int, max_step: int | None, expected: list[tuple[int, int]]
) -> None:
    assert pairs_of(z_indices, max_gap, max_step) == expected
