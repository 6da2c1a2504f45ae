import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.kernels.resample import resample, source_box

shapes = st.tuples(st.integers(1, 23), st.integers(1, 23))


def resample_whole(source: np.ndarray, target_shape: tuple[int, int]) -> np.ndarray:
    shape = (source.shape[1], source.shape[2])
    return resample(source, Box(0, 0, *shape), shape, Box(0, 0, *target_shape), target_shape)


def random_image(shape: tuple[int, int], dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 200, (2, *shape)).astype(dtype)


def test_doubling_interpolates_between_centres_and_keeps_the_edges() -> None:
    assert resample_whole(np.array([[[0, 4]]], np.uint8), (1, 4)).tolist() == [[[0, 1, 3, 4]]]


def test_halving_averages_over_more_than_a_target_pixel() -> None:
    halved = resample_whole(np.array([[[0, 0, 0, 0, 8, 0, 0, 0]]], np.uint16), (1, 4))
    assert halved[0, 0].tolist() == [0, 1, 3, 0]


def test_equal_shapes_are_converted_only() -> None:
    for dtype in ("uint8", "uint16", "int32", "float64", "float32", ">u2"):
        image = random_image((7, 5), dtype)
        converted = resample_whole(image, (7, 5))
        assert converted.dtype == np.float32
        assert np.array_equal(converted, image.astype(np.float32))
        assert not np.shares_memory(converted, image)


def test_a_constant_stays_constant() -> None:
    assert resample_whole(np.full((1, 9, 14), 60_000, np.uint16), (5, 33)) == pytest.approx(60_000, rel=1e-6)


@given(shapes, shapes)
def test_equals_pillow(shape: tuple[int, int], target_shape: tuple[int, int]) -> None:
    image = random_image(shape)
    size = (target_shape[1], target_shape[0])
    expected = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in image]
    assert resample_whole(image, target_shape) == pytest.approx(np.stack(expected), abs=1e-3)


@given(st.data(), shapes, shapes)
def test_any_box_has_the_bits_of_the_whole(
    data: st.DataObject, shape: tuple[int, int], target_shape: tuple[int, int]
) -> None:
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in target_shape]
    box = Box(ends[0][0], ends[1][0], ends[0][1], ends[1][1])
    image = random_image(shape)
    needed = source_box(box, target_shape, shape)
    for read in (needed, needed.grown(data.draw(st.integers(0, 3)), shape)):
        part = resample(image[:, *read.slices], read, shape, box, target_shape)
        assert np.array_equal(part, resample_whole(image, target_shape)[:, *box.slices])


@given(shapes, shapes)
def test_the_whole_target_needs_the_whole_source(shape: tuple[int, int], target_shape: tuple[int, int]) -> None:
    assert source_box(Box(0, 0, *target_shape), target_shape, shape) == Box(0, 0, *shape)


def test_too_few_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="at least"):
        resample(np.zeros((1, 4, 4)), Box(0, 0, 4, 4), (8, 8), Box(0, 0, 4, 4), (4, 4))
    with pytest.raises(ImageError, match="exactly this box"):
        resample(np.zeros((1, 4, 5)), Box(0, 0, 4, 4), (4, 4), Box(0, 0, 2, 2), (2, 2))
    with pytest.raises(ImageError, match="complex"):
        resample_whole(np.zeros((1, 4, 4), complex), (2, 2))


def test_boxes_and_images_without_place_are_refused() -> None:
    with pytest.raises(ImageError, match="Clip"):
        source_box(Box(0, 0, 5, 4), (4, 4), (8, 8))
    with pytest.raises(ImageError, match="Clip"):
        source_box(Box(0, 0, 0, 0), (0, 4), (8, 8))
    with pytest.raises(ImageError, match="at least one pixel"):
        source_box(Box(0, 0, 4, 4), (4, 4), (0, 8))
