"""What keeps the cells of neighbouring windows apart, should windows ever disagree."""

from collections.abc import Callable

import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.segment.cells import WindowCells
from cohortseg.segment.frontier import Frontier

Made = Callable[..., WindowCells]


@pytest.fixture
def window() -> Made:
    """Return what makes a window of rows 0 to 10 whose cells are boxes of image pixels."""

    def make(
        inner: tuple[int, int], outer: tuple[int, int], *cells: Box, rows: tuple[int, int] = (0, 10)
    ) -> WindowCells:
        seen = Box(rows[0], outer[0], rows[1], outer[1])
        labels = np.zeros(seen.shape, np.uint32)
        for number, cell in enumerate(cells, start=1):
            labels[cell.shifted(-seen.y0, -seen.x0).slices] = number
        numbers = np.arange(1, len(cells) + 1, dtype=np.float32)
        return WindowCells(
            Box(rows[0], inner[0], rows[1], inner[1]), seen, labels, numbers, numbers / 10, 0, grown=False
        )

    return make


def pixels(cells: WindowCells, number: int) -> int:
    return int(np.count_nonzero(cells.labels == number))


def test_windows_that_agree_lose_nothing(window: Made) -> None:
    frontier = Frontier()
    first = frontier.settle(window((0, 8), (0, 20), Box(2, 2, 5, 15)))
    second = frontier.settle(window((22, 30), (10, 30), Box(2, 15, 5, 20), Box(5, 11, 6, 12)))
    assert (pixels(first, 1), pixels(second, 1), pixels(second, 2)) == (39, 15, 1)
    assert (frontier.overlap_px, frontier.duplicates) == (0, 0)


def test_pixels_taken_beyond_the_core_are_taken_from_later_cells(window: Made) -> None:
    frontier = Frontier()
    frontier.settle(window((0, 8), (0, 20), Box(2, 2, 5, 17)))
    second = frontier.settle(window((22, 30), (10, 30), Box(2, 15, 5, 25)))
    assert pixels(second, 1) == 24
    assert (frontier.overlap_px, frontier.duplicates) == (6, 0)


def test_pixels_within_an_earlier_core_are_taken_from_later_cells(window: Made) -> None:
    """A later window's cell may reach deep into an earlier core, over a cell that never left it."""
    frontier = Frontier()
    frontier.settle(window((0, 8), (0, 20), Box(2, 10, 5, 13)))
    second = frontier.settle(window((22, 30), (10, 30), Box(2, 11, 5, 25)))
    assert frontier.overlap_px == 6
    assert pixels(second, 1) == 36


def test_a_cell_that_was_given_out_before_is_dropped_and_counted(window: Made) -> None:
    frontier = Frontier()
    frontier.settle(window((0, 8), (0, 20), Box(2, 10, 5, 20)))
    second = frontier.settle(window((22, 30), (10, 30), Box(2, 12, 5, 21), Box(6, 22, 9, 25)))
    assert frontier.duplicates == 1
    assert pixels(second, 1) == 9
    assert second.labels.max() == 1
    assert list(second.scores) == [2]
    assert list(second.flow_errors) == [pytest.approx(0.2)]


def test_of_a_cell_cut_in_two_the_larger_piece_stays(window: Made) -> None:
    frontier = Frontier()
    frontier.settle(window((0, 8), (0, 20), Box(0, 13, 10, 15)))
    second = frontier.settle(window((22, 30), (10, 30), Box(2, 11, 5, 25)))
    assert pixels(second, 1) == 30
    assert second.labels[:, :5].max() == 0


def test_what_no_later_window_sees_is_forgotten_but_the_next_strips_part_is_kept(window: Made) -> None:
    frontier = Frontier()
    frontier.settle(window((0, 8), (0, 20), Box(2, 10, 5, 20)))
    frontier.forget(Box(8, 0, 18, 20), 15)
    below = frontier.settle(window((0, 8), (0, 20), Box(12, 2, 15, 9), rows=(8, 18)))
    assert pixels(below, 1) == 21
    beside = frontier.settle(window((22, 30), (15, 30), Box(2, 16, 5, 30)))
    assert pixels(beside, 1) == 30
    assert frontier.overlap_px == 12
    frontier.forget(Box(10, 0, 18, 20), 30)
    again = frontier.settle(window((22, 30), (15, 30), Box(2, 16, 5, 20)))
    assert pixels(again, 1) == 12


def test_a_pixel_lost_to_an_earlier_window_stays_claimed(window: Made) -> None:
    """What a window gives out depends on what its neighbours found, not on what those gave out in their turn."""
    first, second, third = (
        window((0, 2), (0, 20), Box(2, 2, 5, 12)),
        window((8, 9), (0, 20), Box(2, 4, 5, 14)),
        window((22, 30), (8, 30), Box(2, 9, 5, 25)),
    )
    whole, part = Frontier(), Frontier()
    whole.settle(first)
    whole.settle(second)
    part.claim(first)
    part.claim(second)
    in_whole, in_part = whole.settle(third), part.settle(third)
    np.testing.assert_array_equal(in_whole.labels, in_part.labels)
    assert pixels(in_whole, 1) == 33
