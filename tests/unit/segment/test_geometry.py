"""Image pixels and network pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.kernels.resample import source_box
from cohortseg.segment.geometry import Geometry

GEOMETRIES = st.builds(
    Geometry, st.tuples(st.integers(1, 90), st.integers(1, 90)), st.floats(0.05, 8.0, allow_subnormal=False)
)


@st.composite
def parts(draw: st.DrawFn) -> tuple[Geometry, Box]:
    """Return a geometry and a box of network pixels."""
    geometry = draw(GEOMETRIES)
    height, width = geometry.network_shape
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return geometry, Box(y0, x0, draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width)))


def nearest(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the network row and column that hold the centre of each image row and column, in exact fractions."""
    rows, columns = (
        np.array([(2 * i + 1) * n_network // (2 * n_image) for i in range(n_image)])
        for n_image, n_network in zip(geometry.image_shape, geometry.network_shape, strict=True)
    )
    return rows, columns


@given(GEOMETRIES, st.data())
def test_boxes_that_tile_the_networks_grid_tile_the_image(geometry: Geometry, data: st.DataObject) -> None:
    height, width = geometry.network_shape
    cut_y, cut_x = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    seen = np.zeros(geometry.image_shape, int)
    for y0, y1 in ((0, cut_y), (cut_y, height)):
        for x0, x1 in ((0, cut_x), (cut_x, width)):
            seen[geometry.image_box(Box(y0, x0, y1, x1)).slices] += 1
    assert (seen == 1).all()


@given(parts())
def test_an_image_pixel_is_in_the_box_that_holds_its_nearest_network_pixel(part: tuple[Geometry, Box]) -> None:
    geometry, box = part
    rows, columns = nearest(geometry)
    inside_y, inside_x = (rows >= box.y0) & (rows < box.y1), (columns >= box.x0) & (columns < box.x1)
    image_box = geometry.image_box(box)
    assert list(np.flatnonzero(inside_y)) == list(range(image_box.y0, image_box.y1))
    assert list(np.flatnonzero(inside_x)) == list(range(image_box.x0, image_box.x1))
    assert geometry.image_columns(box.x0, box.x1) == (image_box.x0, image_box.x1)


@given(parts(), st.integers(0, 2**32 - 1))
def test_labels_of_a_box_are_those_of_the_whole_there(part: tuple[Geometry, Box], seed: int) -> None:
    geometry, box = part
    labels = np.random.default_rng(seed).integers(0, 5, geometry.network_shape, np.uint32)
    whole = geometry.image_labels(labels, Box(0, 0, *geometry.network_shape))
    rows, columns = nearest(geometry)
    np.testing.assert_array_equal(whole, labels[np.ix_(rows, columns)])
    part_of_it = geometry.image_labels(labels[box.slices], box)
    np.testing.assert_array_equal(part_of_it, whole[geometry.image_box(box).slices])


@given(parts())
def test_what_a_box_interpolates_needs_nothing_beyond_it(part: tuple[Geometry, Box]) -> None:
    geometry, box = part
    image_box = geometry.interpolated_box(box)
    assert image_box.intersection(Box(0, 0, *geometry.image_shape)) == image_box
    if image_box.height and image_box.width:
        needed = source_box(image_box, geometry.image_shape, geometry.network_shape)
        assert needed.intersection(box) == needed


def test_a_box_up_to_the_borders_interpolates_the_whole_image() -> None:
    geometry = Geometry((100, 60), 0.4)
    assert geometry.interpolated_box(Box(0, 0, *geometry.network_shape)) == (0, 0, 100, 60)


@pytest.mark.parametrize(("scale", "shape"), [(1.0, (3, 7)), (0.5, (1, 3)), (1.7, (5, 11)), (1e-6, (1, 1))])
def test_the_networks_grid_is_the_scaled_image(scale: float, shape: tuple[int, int]) -> None:
    assert Geometry((3, 7), scale).network_shape == shape
