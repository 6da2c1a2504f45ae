import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from cohortseg.arrays import Box
from cohortseg.errors import ImageError, TableError
from cohortseg.shapes import rasterise, rasterise_into


def table_of(*shapes: shapely.Geometry, ids: list[int] | None = None) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"cell_id": ids or list(range(1, len(shapes) + 1))}, geometry=list(shapes))


def test_a_table_is_drawn_with_its_cell_ids() -> None:
    labels = rasterise(table_of(shapely.box(0, 0, 1, 2), shapely.box(1, 1, 3, 2), ids=[8, 4]), (2, 4))
    assert labels.dtype == np.uint32
    assert labels.tolist() == [[8, 0, 0, 0], [8, 4, 4, 0]]


def test_geometries_with_values_are_drawn_alike() -> None:
    shapes = [shapely.box(0, 0, 2, 2), shapely.MultiPolygon([shapely.box(3, 0, 4, 1), shapely.box(3, 3, 4, 4)])]
    by_values = rasterise((shapes, np.array([1, 2])), (4, 4))
    assert np.array_equal(by_values, rasterise(table_of(*shapes), (4, 4)))
    assert np.count_nonzero(by_values == 2) == 2


def test_a_box_has_the_pixels_of_the_whole() -> None:
    table = table_of(shapely.Point(6.3, 5.1).buffer(4.2), shapely.Point(11, 8).buffer(3))
    whole = rasterise(table, (14, 12))
    box = Box(3, 5, 11, 12)
    assert np.array_equal(rasterise(table, (14, 12), box), whole[box.slices])


def test_holes_empty_and_missing_geometries_and_polygons_beyond_the_image_are_accepted() -> None:
    ring = shapely.box(-5, -5, 4, 4).difference(shapely.box(1, 1, 2, 2))
    labels = rasterise(
        table_of(shapely.Polygon(), ring, None, shapely.MultiPolygon(), shapely.box(90, 90, 99, 99)), (3, 3)
    )
    assert labels.tolist() == [[2, 2, 2], [2, 0, 2], [2, 2, 2]]


def test_no_polygons_give_background() -> None:
    assert not rasterise(table_of(), (3, 2)).any()
    assert rasterise(table_of(), (0, 5)).shape == (0, 5)


def test_an_invalid_polygon_is_even_odd() -> None:
    twice = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (0, 2), (4, 2), (4, 4), (0, 4)])
    assert not twice.is_valid
    labels = rasterise(table_of(twice), (4, 4))
    assert labels[:2].all()


def test_conflicts_are_counted() -> None:
    shapes = np.array([shapely.box(0, 0, 3, 3), shapely.box(2, 2, 5, 5)])
    labels, overlapped_px = rasterise_into(shapes, np.array([1, 2]), Box(1, 1, 5, 5))
    assert overlapped_px == 1
    assert labels[1, 1] == 2


@pytest.mark.parametrize("ids", [[0], [-1], [2**32], [1.5]])
def test_cell_ids_that_a_label_image_cannot_hold_are_refused(ids: list[int]) -> None:
    with pytest.raises(TableError, match="whole numbers from 1 to 4294967295"):
        rasterise(table_of(shapely.box(0, 0, 1, 1), ids=ids), (2, 2))


def test_the_largest_cell_id_is_drawn() -> None:
    assert rasterise(table_of(shapely.box(0, 0, 1, 1), ids=[2**32 - 1]), (1, 1))[0, 0] == 2**32 - 1


def test_other_geometries_are_refused_with_their_row() -> None:
    with pytest.raises(TableError, match="LINESTRING in row 1"):
        rasterise(table_of(shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])), (2, 2))


def test_a_table_without_cell_ids_is_refused() -> None:
    with pytest.raises(TableError, match="cell_id"):
        rasterise(gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)]), (2, 2))


def test_fewer_values_than_geometries_are_refused() -> None:
    with pytest.raises(TableError, match="2 geometries"):
        rasterise(([shapely.box(0, 0, 1, 1), shapely.box(0, 0, 1, 1)], np.array([1])), (2, 2))


def test_a_box_beyond_the_image_is_refused() -> None:
    with pytest.raises(ImageError, match="part of"):
        rasterise(table_of(), (4, 4), Box(0, 0, 5, 4))


@given(st.lists(st.tuples(st.floats(0.013, 8.9), st.floats(0.013, 8.9)), min_size=3, max_size=7, unique=True))
def test_agrees_with_skimage_away_from_edges(vertices: list[tuple[float, float]]) -> None:
    polygon = shapely.Polygon(vertices)
    ours = rasterise(table_of(polygon), (9, 9)) > 0
    # skimage puts the centre of pixel (0, 0) at (0, 0), and takes (row, column).
    theirs = polygon2mask((9, 9), np.array(vertices)[:, ::-1] - 0.5)
    centres = shapely.points(np.stack(np.meshgrid(np.arange(9) + 0.5, np.arange(9) + 0.5), axis=-1))
    clear = shapely.distance(centres, polygon.exterior) > 1e-6
    assert np.array_equal(ours[clear], theirs[clear])
