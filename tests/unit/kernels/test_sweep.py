"""Pixels that polygons of two planes share, against counts on the label images of these planes."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cohortseg.arrays import Box
from cohortseg.kernels.overlap import count_overlaps
from cohortseg.kernels.sweep import sweep_band
from cohortseg.kernels.wkb import Runs, wkb_runs
from cohortseg.shapes import rasterise_into

SHAPE = (14, 17)
NUMBER = st.one_of(st.integers(-2, 18).map(float), st.floats(-2, 18, width=32))
RING = st.lists(st.tuples(NUMBER, NUMBER), min_size=3, max_size=6)
POLYGON = st.builds(shapely.Polygon, RING, st.lists(RING, max_size=1))
SHAPES = st.lists(st.one_of(POLYGON, st.lists(POLYGON, min_size=2, max_size=3).map(shapely.MultiPolygon)), max_size=8)


def runs_of(shapes: list[shapely.Geometry], n_pieces: int) -> tuple[list[Runs], NDArray[np.int64]]:
    """Return the runs of polygons in pieces, and the pixels of each polygon."""
    pieces, areas = [], [np.zeros(0, np.int64)]
    for some in np.array_split(np.arange(len(shapes)), n_pieces):
        written = [shapely.to_wkb(shapes[i]) for i in some]
        offsets = np.cumsum([0, *map(len, written)]).astype(np.int64)
        first = int(some[0]) if some.size else 0
        runs, px = wkb_runs(np.frombuffer(b"".join(written), np.uint8), offsets, first, SHAPE)
        pieces.append(runs)
        areas.append(px)
    return pieces, np.concatenate(areas)


def labels_of(shapes: list[shapely.Geometry]) -> tuple[NDArray[np.uint32], int]:
    return rasterise_into(shapes, np.arange(1, len(shapes) + 1), Box(0, 0, *SHAPE))


@settings(max_examples=100, deadline=None)
@given(SHAPES, SHAPES, st.integers(1, 3), st.integers(1, 3))
def test_any_polygons_share_the_pixels_of_their_label_images(below, above, n_pieces: int, n_bands: int) -> None:
    (one, areas_below), (other, areas_above) = runs_of(below, n_pieces), runs_of(above, n_pieces + 1)
    (a, taken_below), (b, taken_above) = labels_of(below), labels_of(above)
    shared = np.zeros((len(below) + 1, len(above) + 1), int)
    lost, conflicts = [areas_below.copy(), areas_above.copy()], [0, 0]
    edges = np.linspace(0, SHAPE[0], n_bands + 1).astype(int)
    for first, end in pairwise(edges):
        pairs, counts, *taken = sweep_band(one, other, first, end)
        shared[tuple(pairs.T + 1)] += counts
        for plane, each in enumerate(taken):
            np.subtract.at(lost[plane], each.cells, each.pixels)
            conflicts[plane] += each.conflicts
    expected = np.zeros_like(shared)
    pairs, counts = count_overlaps(a, b)
    expected[tuple(pairs.T)] = counts
    np.testing.assert_array_equal(shared, expected)
    for areas, labels in zip(lost, (a, b), strict=True):
        np.testing.assert_array_equal(areas, np.bincount(labels.ravel(), minlength=areas.size + 1)[1:])
    assert conflicts == [taken_below, taken_above]


@pytest.mark.parametrize("seed", [0, 1])
def test_many_polygons_in_any_order_are_all_counted(seed: int) -> None:
    # More runs in a row than are sorted by insertion, and more pairs than the first table holds.
    rng = np.random.default_rng(seed)
    shape = (6, 60_000)
    lefts = np.arange(0, shape[1], 3)
    order = rng.permutation(lefts.size)
    pieces = []
    for shift in (0, 1):
        written = [shapely.to_wkb(box) for box in shapely.box(lefts + shift, 0, lefts + shift + 2, 6)[order]]
        offsets = np.cumsum([0, *map(len, written)]).astype(np.int64)
        data = np.frombuffer(b"".join(written), np.uint8)
        half = lefts.size // 2
        split = [(offsets[: half + 1], 0), (offsets[half:], half)]
        pieces.append([wkb_runs(data, each, first, shape)[0] for each, first in split])
    pairs, counts, _, _ = sweep_band(pieces[0], pieces[1], 0, 6)
    assert len(pairs) == lefts.size
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    assert set(counts) == {6}


def test_the_result_is_the_same_bytes_each_time() -> None:
    below, above = (
        [shapely.box(x, 0, x + 3, 9) for x in range(9)],
        [shapely.box(0, y, 16, y + 2) for y in range(0, 12, 2)],
    )
    once, again = (sweep_band(runs_of(below, 2)[0], runs_of(above, 2)[0], 0, 14) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])


def test_a_plane_without_cells_shares_nothing() -> None:
    square, _ = runs_of([shapely.box(1, 1, 5, 5)], 1)
    for one, other in ((square, []), ([], square), ([], [])):
        pairs, counts, *taken = sweep_band(one, other, 0, 14)
        assert pairs.shape == (0, 2)
        assert counts.size == 0
        assert [each.conflicts for each in taken] == [0, 0]
