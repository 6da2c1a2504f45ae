"""Cells of a flow field."""

from typing import Any

import numpy as np
import pytest

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError
from cohortseg.segment.cells import labels_from_flows, window_cells
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.table import cell_table
from cohortseg.settings import PostprocessSettings
from cohortseg.tiling import Window


@pytest.fixture
def discs() -> Labels:
    """Return four discs 13 px wide, two of them touching, and one of 5 px."""
    y, x = np.indices((48, 64))
    labels = np.zeros((48, 64), np.uint32)
    for number, (cy, cx, r) in enumerate([(10, 10, 6), (10, 23, 6), (34, 12, 6), (34, 50, 6), (10, 50, 2)], start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= r**2 + 1] = number
    return labels


def same_partition(found: Labels, expected: Labels) -> bool:
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()], axis=1), axis=0)
    return len(pairs) == len(np.unique(found)) == len(np.unique(expected))


def test_the_cells_of_exact_flows_come_back(exact: Any, discs: Labels) -> None:
    field = exact.field(discs)
    found = labels_from_flows(field[:2], field[2])
    assert found.dtype == np.uint32
    assert same_partition(found, discs)


def test_settings_decide_what_is_a_cell(exact: Any, discs: Labels) -> None:
    field = exact.field(discs)

    def n_cells(**settings: float) -> int:
        return int(labels_from_flows(field[:2], field[2], PostprocessSettings(**settings)).max())

    assert n_cells() == 5
    assert n_cells(min_size=40) == 4
    assert n_cells(cellprob_threshold=6.5) == 0
    field[:2] *= np.array([[[1]], [[0.6]]], np.float32)
    assert n_cells(flow_threshold=0.05) == 0
    assert n_cells(flow_threshold=0.0) == 5


def test_a_field_without_cells_gives_no_labels() -> None:
    flow, logits = np.zeros((2, 9, 7), np.float32), np.full((9, 7), -3, np.float32)
    assert not labels_from_flows(flow, logits).any()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImageError, match=r"flow has shape \(3, 9, 7\) and cell_probability \(9, 7\); .2, y, x. and"):
        labels_from_flows(np.zeros((3, 9, 7), np.float32), np.zeros((9, 7), np.float32))


def test_a_window_gives_the_cells_whose_seed_is_in_its_core(exact: Any, discs: Labels) -> None:
    field, shape = exact.field(discs), (48, 64)
    left = Window(Box(0, 0, 48, 17), Box(0, 0, 48, 40), Box(0, 0, 48, 40), Box(0, 0, 48, 0))
    right = Window(Box(0, 17, 48, 64), Box(0, 0, 48, 64), Box(0, 0, 48, 64), Box(0, 40, 48, 64))
    tables = []
    for window in (left, right):
        cells = window_cells(field[:, *window.outer.slices], window, Geometry(shape, 1.0), PostprocessSettings())
        tables.append(cell_table(cells, shape))
        assert cells.n_cut == 0
    assert [sorted(table["area_px"]) for table in tables] == [
        sorted(np.bincount(discs.ravel())[numbers]) for numbers in ([1, 3], [2, 4, 5])
    ]
    assert list(tables[0]["cell_id"]) == [1, 2]


def test_small_cells_are_judged_in_image_pixels(exact: Any, discs: Labels) -> None:
    """At twice the image's size the small disc has four times the pixels, which must not save it."""
    field = np.kron(exact.field(discs), np.ones((1, 2, 2), np.float32))
    whole = Box(0, 0, 96, 128)
    cells = window_cells(
        field, Window(whole, whole, whole, whole), Geometry((48, 64), 2.0), PostprocessSettings(min_size=40)
    )
    assert cells.labels.shape == (48, 64)
    assert cells.labels.max() == 4


def test_a_row_holds_what_is_known_of_a_cell(exact: Any, discs: Labels) -> None:
    discs[discs == 1] = 0
    discs[:5, :8] = 1
    field, whole = exact.field(discs), Box(0, 0, 48, 64)
    cells = window_cells(
        field, Window(whole, whole, whole, whole), Geometry((48, 64), 1.0), PostprocessSettings(min_size=1)
    )
    table = cell_table(cells, (48, 64))
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "cell_id": "int64",
        "area_px": "int64",
        "centroid_x": "float64",
        "centroid_y": "float64",
        "score": "float32",
        "flow_error": "float32",
        "touches_edge": "bool",
        "geometry": "geometry",
    }
    corner = table[table["touches_edge"]].iloc[0]
    assert (corner["area_px"], corner["centroid_x"], corner["centroid_y"]) == (40, 4.0, 2.5)
    assert corner.geometry.bounds == (0, 0, 8, 5)
    assert table["score"].to_numpy() == pytest.approx(1 / (1 + np.exp(-6)))
    assert (table["flow_error"] < 0.1).all()
    assert table["touches_edge"].sum() == 1
