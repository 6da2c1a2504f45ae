import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.draw import polygon2mask

from cohortseg.errors import ImageError
from cohortseg.shapes import geometries, polygonise, rasterise

few_labels = st.sampled_from([0, 1, 2, 3, 70_000, 2**32 - 1])
label_images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=few_labels)


def labels_of(*rows: str) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.uint32)


def test_labels_keep_their_value_as_cell_id_in_ascending_order() -> None:
    table = polygonise(labels_of("500", "033"))
    assert list(table.columns) == ["cell_id", "geometry"]
    assert table.cell_id.dtype == np.int64
    assert table.cell_id.tolist() == [3, 5]
    assert table.geometry[0].equals(shapely.box(1, 1, 3, 2))


def test_polygons_lie_where_the_window_lies() -> None:
    ids, shapes = geometries(labels_of("1"), (10, 300))
    assert ids.tolist() == [1]
    assert shapes[0].bounds == (300, 10, 301, 11)


def test_a_label_with_a_hole_is_one_polygon() -> None:
    polygon = polygonise(labels_of("111", "101", "111")).geometry[0]
    assert polygon.geom_type == "Polygon"
    assert polygon.exterior.is_ccw
    assert polygon.area == 8


@pytest.mark.parametrize("rows", [("101",), ("10", "01"), ("11111", "10001", "10101", "10001", "11111")])
def test_a_label_in_pieces_is_a_valid_multipolygon(rows: tuple[str, ...]) -> None:
    geometry = polygonise(labels_of(*rows)).geometry[0]
    assert geometry.geom_type == "MultiPolygon"
    assert len(geometry.geoms) == 2
    assert geometry.is_valid


def test_pieces_of_labels_in_turn_go_to_their_own() -> None:
    table = polygonise(labels_of("3102", "0000", "1320", "0000", "0012"))
    assert table.geometry.area.tolist() == [3, 3, 2]
    assert [len(geometry.geoms) for geometry in table.geometry] == [3, 3, 2]


def test_no_labels_give_an_empty_table() -> None:
    table = polygonise(np.zeros((4, 5), np.uint32))
    assert len(table) == 0
    assert list(table.columns) == ["cell_id", "geometry"]


def test_signed_labels_are_refused() -> None:
    with pytest.raises(ImageError, match="int32"):
        polygonise(np.zeros((4, 5), np.int32))


@given(label_images)
def test_rasterise_gives_the_labels_back(labels: np.ndarray) -> None:
    assert np.array_equal(rasterise(polygonise(labels), labels.shape), labels)


@given(label_images)
def test_polygons_are_valid_and_have_the_area_of_their_labels(labels: np.ndarray) -> None:
    ids, shapes = geometries(labels, (0, 0))
    expected_ids, areas = np.unique(labels[labels > 0], return_counts=True)
    assert ids.tolist() == expected_ids.tolist()
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).tolist() == areas.tolist()


@given(label_images)
def test_no_two_polygons_overlap(labels: np.ndarray) -> None:
    shapes = geometries(labels, (0, 0))[1]
    assert shapely.union_all(shapes).area == np.count_nonzero(labels)


@given(label_images)
def test_skimage_draws_the_same_pixels_from_outlines(labels: np.ndarray) -> None:
    drawn = np.zeros_like(labels)
    for cell_id, geometry in zip(*geometries(labels, (0, 0)), strict=True):
        for part in shapely.get_parts(geometry):
            mask = np.zeros(labels.shape, bool)
            for ring in shapely.get_rings(part):
                # skimage puts the centre of pixel (0, 0) at (0, 0), and takes (row, column).
                mask ^= polygon2mask(labels.shape, shapely.get_coordinates(ring)[:, ::-1] - 0.5)
            drawn[mask] = cell_id
    assert np.array_equal(drawn, labels)


@given(label_images)
def test_rasterio_draws_the_same_pixels(labels: np.ndarray) -> None:
    features = pytest.importorskip("rasterio.features", reason="rasterio is not installed: nothing to compare with")
    ids, shapes = geometries(labels, (0, 0))
    if labels.size and len(ids):
        pairs = list(zip(shapes, ids.tolist(), strict=True))
        assert np.array_equal(features.rasterize(pairs, out_shape=labels.shape, dtype="uint32"), labels)
