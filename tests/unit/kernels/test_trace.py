from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from cohortseg.errors import ImageError
from cohortseg.kernels.trace import Rings, trace_rings

label_images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def rings_of(*rows: str) -> Rings:
    return trace_rings(np.array([[int(value) for value in row] for row in rows], np.uint32))


def vertices(rings: Rings, ring: int) -> list[list[int]]:
    return rings.xy[rings.ring_offsets[ring] : rings.ring_offsets[ring + 1]].tolist()


def shoelace(points: list[list[int]]) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(points)) / 2


def test_a_pixel_is_a_closed_square_in_x_y_order() -> None:
    rings = rings_of("000", "007")
    assert vertices(rings, 0) == [[2, 1], [3, 1], [3, 2], [2, 2], [2, 1]]
    assert rings.ring_label.tolist() == [7]


def test_only_corners_are_kept() -> None:
    assert vertices(rings_of("11", "11", "10"), 0) == [[0, 0], [2, 0], [2, 2], [1, 2], [1, 3], [0, 3], [0, 0]]


def test_a_hole_follows_its_outer_ring_and_turns_the_other_way() -> None:
    rings = rings_of("1110", "1010", "1112")
    assert rings.ring_piece.tolist() == [0, 0, 1]
    assert rings.ring_label.tolist() == [1, 1, 2]
    assert [shoelace(vertices(rings, ring)) for ring in range(3)] == [9, -1, 1]


def test_rings_come_by_piece_even_where_another_piece_begins_before_the_hole() -> None:
    rings = rings_of("11100", "10102", "11100")
    assert rings.ring_label.tolist() == [1, 1, 2]


def test_pieces_that_touch_at_a_corner_are_apart() -> None:
    rings = rings_of("10", "01")
    assert rings.ring_piece.tolist() == [0, 1]
    assert rings.ring_label.tolist() == [1, 1]


def test_holes_that_touch_at_a_corner_are_two_simple_rings() -> None:
    rings = rings_of("1111", "1011", "1101", "1111")
    assert [shoelace(vertices(rings, ring)) for ring in range(3)] == [16, -1, -1]


def test_a_pocket_closed_by_a_corner_is_a_hole() -> None:
    rings = rings_of("111", "101", "110")
    assert [shoelace(vertices(rings, ring)) for ring in range(2)] == [8, -1]


def test_an_image_without_labels_has_no_rings() -> None:
    for shape in ((0, 0), (0, 4), (3, 0), (3, 4)):
        rings = trace_rings(np.zeros(shape, np.uint32))
        assert rings.xy.shape == (0, 2)
        assert rings.ring_offsets.tolist() == [0]


def test_the_largest_label_is_kept() -> None:
    assert trace_rings(np.array([[2**32 - 1]], np.uint32)).ring_label.tolist() == [2**32 - 1]


def test_a_view_with_strides_is_traced_as_it_looks() -> None:
    labels = np.arange(24, dtype=np.uint32).reshape(4, 6) // 5
    strided = trace_rings(labels[::2, ::-1])
    packed = trace_rings(np.ascontiguousarray(labels[::2, ::-1]))
    assert all(np.array_equal(one, other) for one, other in zip(strided, packed, strict=True))


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.int64), np.zeros((1, 2, 2), np.uint32)])
def test_other_arrays_are_refused_with_what_was_found(labels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=str(labels.dtype)):
        trace_rings(labels)


@given(label_images)
def test_every_piece_has_one_outer_ring_of_its_area(labels: np.ndarray) -> None:
    rings = trace_rings(labels)
    areas = np.zeros(rings.ring_piece.max(initial=-1) + 1)
    for ring in range(len(rings.ring_label)):
        points = vertices(rings, ring)
        area = shoelace(points)
        is_first = ring == 0 or rings.ring_piece[ring] != rings.ring_piece[ring - 1]
        assert points[0] == points[-1]
        assert len(set(map(tuple, points[:-1]))) == len(points) - 1
        assert (area > 0) == is_first
        areas[rings.ring_piece[ring]] += area
    expected = []
    for label in np.unique(labels[labels > 0]):
        pieces, n = ndimage.label(labels == label)
        expected += ndimage.sum_labels(labels == label, pieces, range(1, n + 1)).tolist()
    assert sorted(areas.tolist()) == sorted(expected)
