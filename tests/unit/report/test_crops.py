"""Which cells the report shows of an image, and their pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohortseg.arrays import Box, Image, Labels
from cohortseg.report.crops import CROP_COLUMNS, choose_cells, draw_crops


def table(n: int = 40, **columns: Any) -> pd.DataFrame:
    """Return `n` cells on a grid of 30 px that differ a little in score and flow error only."""
    number = np.arange(n)
    plain = {
        "cell_id": number + 1,
        "area_px": np.full(n, 314),
        "centroid_x": 30.0 * (number % 8) + 15,
        "centroid_y": 30.0 * (number // 8) + 15,
        "major_axis_px": np.full(n, 20.0),
        "solidity": np.full(n, 0.95),
        "touches_edge": np.zeros(n, bool),
        "score": 4 + 0.001 * number,
        "flow_error": 0.1 - 0.001 * number,
    }
    return pd.DataFrame(plain | columns)[list(CROP_COLUMNS)]


def at(row: int, value: float, usual: float, n: int = 40) -> Any:
    return np.where(np.arange(n) == row, value, usual)


def doubtful(cells: pd.DataFrame, number: int = 5) -> dict[int, str]:
    chosen = choose_cells(cells, 5, number)
    return {each["cell_id"]: each["why"] for each in chosen if each["kind"] == "doubtful"}


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("flow_error", at(7, 0.38, 0.1), "largest flow error: 0.38, median 0.10"),
        ("score", at(7, -0.5, 4), "lowest score: -0.50, median 4.00"),
        ("area_px", at(7, 5000, 314), "largest: 80 px across, median 20 px"),
        ("area_px", at(7, 20, 314), "smallest: 5 px across, median 20 px"),
        ("solidity", at(7, 0.6, 0.95), "most indented: fills 60% of its hull, median 95%"),
    ],
)
def test_a_cell_unlike_the_others_is_doubtful_and_why_is_said(column: str, values: Any, why: str) -> None:
    assert doubtful(table(**{column: values}))[8] == why


def test_only_one_cell_is_called_the_largest() -> None:
    areas = np.where(np.arange(40) == 3, 5000, np.where(np.arange(40) == 9, 4000, 314))
    found = doubtful(table(area_px=areas), 8)
    assert found[4] == "largest: 80 px across, median 20 px"
    assert found[10] == "among the largest: 71 px across, median 20 px"


def test_the_size_of_a_cell_that_the_edge_cuts_is_not_doubted() -> None:
    cells = table(area_px=at(7, 20, 314), touches_edge=np.arange(40) == 7)
    assert 8 not in doubtful(cells)
    assert 8 not in {each["cell_id"] for each in choose_cells(cells, 5, 5)}


def test_good_cells_are_of_the_best_and_spread_over_the_image() -> None:
    good = [each for each in choose_cells(table(400), 5, 5) if each["kind"] == "good"]
    assert len(good) == 5
    assert min(each["cell_id"] for each in good) > 370
    places = np.array([(each["x"], each["y"]) for each in good])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert apart[~np.eye(5, dtype=bool)].min() >= 60
    assert good[0]["why"].startswith("score 4.")


def test_of_equal_cells_nothing_is_doubtful_and_of_few_half_at_most() -> None:
    equal = table(score=4.0, flow_error=0.1)
    assert {each["kind"] for each in choose_cells(equal, 5, 5)} == {"good"}
    few = choose_cells(table(3), 5, 5)
    assert sorted(each["kind"] for each in few) == ["doubtful", "good", "good"]
    assert len({each["cell_id"] for each in few}) == 3
    assert choose_cells(table(0), 5, 5) == []


def test_what_is_not_known_is_not_judged() -> None:
    cells = table(score=np.nan, flow_error=np.nan)
    chosen = choose_cells(cells, 5, 5)
    assert {(each["kind"], each["why"]) for each in chosen} == {("good", "not at the edge")}


def test_the_order_of_the_rows_does_not_matter() -> None:
    cells = table(area_px=at(7, 5000, 314), solidity=at(11, 0.5, 0.9))
    assert choose_cells(cells.sample(frac=1, random_state=1), 5, 5) == choose_cells(cells, 5, 5)


def square_cells(shape: tuple[int, int]) -> tuple[Callable[[Box], Image], Callable[[Box], Labels], list[Box]]:
    """Return readers of squares of 10 px, label 7 at (20, 20) bright, its neighbour 8 grey, and what was read."""
    labels = np.zeros(shape, np.uint32)
    labels[15:25, 15:25], labels[15:25, 25:35] = 7, 8
    image = np.where(labels == 7, 900, np.where(labels == 8, 500, 0)).astype(np.uint16)[None]
    asked: list[Box] = []

    def read_pixels(box: Box) -> Image:
        asked.append(box)
        return image[:, *box.slices]

    return read_pixels, lambda box: labels[box.slices], asked


def test_a_crop_is_centred_on_its_cell_whose_outline_is_its_own() -> None:
    read_pixels, read_labels, _ = square_cells((60, 60))
    chosen = [
        {"cell_id": 7, "x": 20.0, "y": 20.0, "window_px": 30},
        {"cell_id": 8, "x": 30.0, "y": 20.0, "window_px": 30},
    ]
    strip = draw_crops(read_pixels, read_labels, chosen, (60, 60), side_px=90, limits=[(0, 1000)], is_rgb=False)
    assert strip.shape == (90, 180, 3)
    for tile in (strip[:, :90], strip[:, 90:]):
        orange = (tile == (255, 110, 0)).all(axis=2)
        rows, columns = np.nonzero(orange)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 59, 30, 59)
        assert (tile == (150, 150, 150)).all(axis=2).any(), "the neighbour's outline"
    assert strip[45, 45, 0] > strip[45, 135, 0], "the brighter cell is the first"


def test_beyond_the_image_is_black_and_nothing_is_read() -> None:
    read_pixels, read_labels, asked = square_cells((60, 60))
    chosen = [{"cell_id": 7, "x": 20.0, "y": 20.0, "window_px": 100}]
    strip = draw_crops(read_pixels, read_labels, chosen, (60, 60), side_px=100, limits=[(0, 1000)], is_rgb=False)
    assert asked == [Box(0, 0, 60, 60)]
    assert (strip[:29] == 0).all()
    assert (strip[50, 50] > 200).any()


def test_without_cells_there_is_one_black_pixel() -> None:
    read_pixels, read_labels, _ = square_cells((60, 60))
    strip = draw_crops(read_pixels, read_labels, [], (60, 60), side_px=90, limits=[(0, 1000)], is_rgb=False)
    assert strip.shape == (1, 1, 3)
