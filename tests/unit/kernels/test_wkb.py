"""Runs of pixels of polygons in WKB, against the label images that the rasteriser draws."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.errors import TableError
from cohortseg.kernels.wkb import Runs, wkb_runs
from cohortseg.shapes import rasterise_into

SHAPE = (14, 17)
SQUARE = shapely.box(2, 3, 6, 5)

NUMBER = st.one_of(st.integers(-4, 20).map(float), st.floats(-4, 20, width=32), st.just(7.5))
RING = st.lists(st.tuples(NUMBER, NUMBER), min_size=3, max_size=7)
POLYGON = st.builds(shapely.Polygon, RING, st.lists(RING, max_size=2))


def packed(geometries: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, geometries)]).astype(np.int64)
    return np.frombuffer(b"".join(geometries), np.uint8), offsets


def listed(runs: Runs) -> list[tuple[int, int, int, int]]:
    """Return (row, first column, end column, cell) of each run."""
    counts = np.diff(runs.row_starts)
    rows = np.repeat(np.arange(counts.size), counts) + runs.first_row
    halves = zip(rows, runs.spans >> np.uint64(32), runs.spans & np.uint64(0xFFFFFFFF), runs.cells, strict=True)
    return [(int(row), int(left), int(right), int(cell)) for row, left, right, cell in halves]


def painted(runs: Runs) -> np.ndarray:
    image = np.zeros(SHAPE, int)
    for row, left, right, _ in listed(runs):
        image[row, left:right] += 1
    return image


@given(POLYGON)
def test_the_runs_of_a_polygon_are_its_pixels(polygon: shapely.Polygon) -> None:
    drawn, _ = rasterise_into([polygon], np.array([1]), Box(0, 0, *SHAPE))
    runs, areas = wkb_runs(*packed([shapely.to_wkb(polygon)]), 0, SHAPE)
    np.testing.assert_array_equal(painted(runs), drawn)
    assert areas.tolist() == [np.count_nonzero(drawn)]


@given(st.lists(POLYGON, min_size=1, max_size=6))
def test_runs_come_by_row_and_name_their_polygons(polygons: list[shapely.Polygon]) -> None:
    runs, areas = wkb_runs(*packed([shapely.to_wkb(polygon) for polygon in polygons]), 70, SHAPE)
    found = listed(runs)
    assert [row for row, *_ in found] == sorted(row for row, *_ in found)
    pixels = np.zeros(len(polygons), int)
    for _, left, right, cell in found:
        assert left < right
        pixels[cell - 70] += right - left
    assert areas.tolist() == pixels.tolist()


@pytest.mark.parametrize("flavor", ["iso", "extended"])
@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.parametrize("dimensions", ["xy", "xyz"])
def test_every_way_to_write_wkb_gives_the_same(flavor: str, byte_order: int, dimensions: str) -> None:
    polygon = SQUARE.difference(shapely.box(3, 4, 4, 5))
    parts = shapely.MultiPolygon([polygon, shapely.box(9, 9, 11, 12)])
    for geometry in (polygon, parts):
        given = shapely.force_3d(geometry, 5.0) if dimensions == "xyz" else geometry
        written = shapely.to_wkb(given, byte_order=byte_order, flavor=flavor)
        expected, _ = wkb_runs(*packed([shapely.to_wkb(geometry)]), 0, SHAPE)
        assert listed(wkb_runs(*packed([written]), 0, SHAPE)[0]) == listed(expected)


def test_a_reference_system_is_passed_over() -> None:
    written = shapely.to_wkb(shapely.set_srid(SQUARE, 4326), include_srid=True)
    runs, areas = wkb_runs(*packed([written]), 0, SHAPE)
    assert listed(runs) == [(3, 2, 6, 0), (4, 2, 6, 0)]
    assert areas.tolist() == [8]


def test_nothing_is_drawn_of_missing_and_empty_geometries() -> None:
    given = [b"", shapely.to_wkb(shapely.Polygon()), shapely.to_wkb(shapely.MultiPolygon()), shapely.to_wkb(SQUARE)]
    runs, areas = wkb_runs(*packed(given), 0, SHAPE)
    assert {cell for *_, cell in listed(runs)} == {3}
    assert areas.tolist() == [0, 0, 0, 8]


def test_what_lies_out_of_the_image_is_cut() -> None:
    runs, areas = wkb_runs(*packed([shapely.to_wkb(shapely.box(-5, 12, 3, 40))]), 0, SHAPE)
    assert listed(runs) == [(12, 0, 3, 0), (13, 0, 3, 0)]
    assert areas.tolist() == [6]


def test_a_polygon_of_many_crossings_is_drawn() -> None:
    comb = shapely.union_all([shapely.box(x, 0, x + 1, 9) for x in range(0, 400, 2)] + [shapely.box(0, 9, 400, 10)])
    runs, areas = wkb_runs(*packed([shapely.to_wkb(comb)] * 30), 0, (10, 400))
    assert areas.tolist() == [200 * 9 + 400] * 30
    assert runs.spans.size == 30 * (200 * 9 + 1)


@pytest.mark.parametrize("cut", [3, 8, 12, 20, 60])
def test_wkb_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(TableError, match="row 8 is cut off"):
        wkb_runs(*packed([shapely.to_wkb(SQUARE), shapely.to_wkb(SQUARE)[:cut]]), 7, SHAPE)


def test_counts_beyond_the_data_are_refused() -> None:
    for written in (
        struct.pack("<BII", 1, 3, 2**31),
        struct.pack("<BIII", 1, 3, 1, 2**32 - 1),
        struct.pack("<BII", 1, 6, 9),
    ):
        with pytest.raises(TableError, match="cut off"):
            wkb_runs(*packed([written]), 0, SHAPE)


def test_other_geometries_are_refused() -> None:
    with pytest.raises(TableError, match="row 0 holds another kind"):
        wkb_runs(*packed([shapely.to_wkb(shapely.LineString([(0, 0), (3, 3)]))]), 0, SHAPE)


@pytest.mark.parametrize("number", [np.nan, np.inf, 2.0**41])
def test_vertices_without_a_place_are_refused(number: float) -> None:
    written = shapely.to_wkb(shapely.Polygon([(0, 0), (11, 3), (3, 3)]))
    written = written.replace(struct.pack("<d", 11), struct.pack("<d", number))
    with pytest.raises(TableError, match="row 0 has a vertex"):
        wkb_runs(*packed([written]), 0, SHAPE)
