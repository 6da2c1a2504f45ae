from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import measure

from cohortseg.errors import SettingsError
from cohortseg.synthetic import crowded_field, empty_field, histology_field, nuclei_stack, two_channel_field

SCENES = [
    nuclei_stack,
    two_channel_field,
    histology_field,
    empty_field,
    lambda seed: crowded_field((96, 80), 20, 14, seed),
]
WITH_CELLS = [nuclei_stack, two_channel_field, histology_field]
Scene = Callable[[int], tuple[np.ndarray, np.ndarray]]


def planes_of(truth: np.ndarray) -> np.ndarray:
    return truth if truth.ndim == 3 else truth[None]


def diameters(plane: np.ndarray) -> np.ndarray:
    areas = np.unique(plane[plane > 0], return_counts=True)[1]
    return 2 * np.sqrt(areas / np.pi)


@pytest.mark.parametrize("scene", SCENES)
def test_same_seed_gives_same_arrays_and_another_seed_others(scene: Scene) -> None:
    image, truth = scene(3)
    again, truth_again = scene(3)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(truth, truth_again)
    assert not np.array_equal(image, scene(4)[0])


@pytest.mark.parametrize(
    ("scene", "image_shape", "truth_shape", "dtype"),
    [
        (nuclei_stack, (5, 384, 384), (5, 384, 384), np.uint16),
        (two_channel_field, (2, 512, 512), (512, 512), np.uint16),
        (histology_field, (512, 512, 3), (512, 512), np.uint8),
        (empty_field, (256, 256), (256, 256), np.uint16),
    ],
)
def test_arrays_are_as_documented(scene: Scene, image_shape: tuple, truth_shape: tuple, dtype: type) -> None:
    image, truth = scene(1)
    assert (image.shape, truth.shape, image.dtype, truth.dtype) == (image_shape, truth_shape, dtype, np.uint32)


@pytest.mark.parametrize("scene", WITH_CELLS)
def test_truth_is_numbered_without_gaps_and_each_cell_is_one_piece(scene: Scene) -> None:
    truth = scene(1)[1]
    np.testing.assert_array_equal(np.unique(truth), np.arange(truth.max() + 1))
    for plane in planes_of(truth):
        pieces = measure.label(plane, connectivity=1, background=0)
        assert pieces.max() == np.unique(plane[plane > 0]).size


@pytest.mark.parametrize("scene", WITH_CELLS)
def test_nuclei_have_the_sizes_that_networks_are_trained_on(scene: Scene) -> None:
    for plane in planes_of(scene(1)[1]):
        low, middle, high = np.percentile(diameters(plane), [10, 50, 90])
        assert 11 < low < middle < high < 32
        assert 16 < middle < 26


@pytest.mark.parametrize("scene", [*WITH_CELLS, lambda seed: crowded_field((256, 256), 150, 20, seed)])
def test_some_nuclei_touch(scene: Scene) -> None:
    for plane in planes_of(scene(1)[1]):
        left, right = plane[:, :-1], plane[:, 1:]
        assert ((left != right) & (left > 0) & (right > 0)).sum() > 20


def test_nuclei_stand_out_in_the_nuclear_stain_and_not_in_the_membrane_stain() -> None:
    (membrane, nucleus), truth = two_channel_field(1)
    assert np.median(nucleus[truth > 0]) > 4 * np.median(nucleus[truth == 0])
    assert np.median(membrane[truth > 0]) < 1.5 * np.median(membrane[truth == 0])


def test_nuclei_of_a_section_are_dark_on_a_light_background() -> None:
    image, truth = histology_field(1)
    grey = image.mean(axis=-1)
    assert np.median(grey[truth > 0]) < 110 < 160 < np.median(grey[truth == 0])


@pytest.mark.parametrize("stack", [nuclei_stack(1)[0][2], two_channel_field(1)[0][1]])
def test_the_lower_right_corner_is_bleached(stack: np.ndarray) -> None:
    size = 80
    corner = np.percentile(stack[-size:, -size:], 95)
    others = [np.percentile(part, 95) for part in (stack[:size, -size:], stack[-size:, :size])]
    assert corner < 0.75 * max(others)


def test_most_nuclei_of_a_stack_persist_over_planes_with_their_outline() -> None:
    truth = nuclei_stack(1)[1]
    n_planes = np.array([np.any(truth == label, axis=(1, 2)).sum() for label in range(1, truth.max() + 1)])
    assert np.mean(n_planes >= 3) > 0.8
    below, above = truth[1], truth[2]
    in_both = np.intersect1d(below[below > 0], above[above > 0])
    iou = [((below == k) & (above == k)).sum() / ((below == k) | (above == k)).sum() for k in in_both]
    assert np.mean(np.array(iou) > 0.5) > 0.8


def test_an_empty_field_holds_noise_and_no_truth() -> None:
    image, truth = empty_field(1)
    assert not truth.any()
    assert image.std() > 0


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(40, 160),
    width=st.integers(40, 160),
    diameter=st.floats(6, 40),
    crowding=st.floats(0, 0.85),
    seed=st.integers(0, 2**32 - 1),
)
def test_crowded_field_has_exactly_the_cells_asked_for(
    height: int, width: int, diameter: float, crowding: float, seed: int
) -> None:
    n_cells = int(crowding * height * width / diameter**2)
    image, truth = crowded_field((height, width), n_cells, diameter, seed)
    assert image.shape == truth.shape == (height, width)
    np.testing.assert_array_equal(np.unique(truth[truth > 0]), np.arange(1, n_cells + 1))


@pytest.mark.parametrize(("n_cells", "diameter"), [(1000, 30.0), (5, 3.0), (5, 100.0)])
def test_an_impossible_crowded_field_is_refused(n_cells: int, diameter: float) -> None:
    with pytest.raises(SettingsError, match=r"diameter_px is|do not fit"):
        crowded_field((64, 64), n_cells, diameter, 0)
