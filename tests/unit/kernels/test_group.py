from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from cohortseg.errors import ImageError
from cohortseg.kernels.group import group_endpoints

dynamics = pytest.importorskip("cellpose.dynamics")


def ends_at(shape: tuple[int, int], counts: dict[tuple[int, int], int]) -> tuple[np.ndarray, np.ndarray]:
    """Send as many pixels, in raster order, to each place as it says; the others are outside."""
    targets = [place for place, count in counts.items() for _ in range(count)]
    ends = np.zeros((2, shape[0] * shape[1]), np.int32)
    ends[:, : len(targets)] = np.array(targets, np.int32).reshape(-1, 2).T
    inside = np.arange(ends.shape[1]) < len(targets)
    return ends.reshape(2, *shape), inside.reshape(shape)


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    """The sets of pixels that share a label."""
    flat = labels.ravel()
    return {frozenset(np.flatnonzero(flat == label).tolist()) for label in np.unique(flat[flat > 0])}


def test_pixels_that_end_together_are_one_cell_numbered_by_the_place_they_end_in() -> None:
    ends, inside = ends_at((20, 20), {(15, 2): 30, (3, 9): 12})
    labels, seeds = group_endpoints(ends, inside)
    assert seeds.tolist() == [[3, 9], [15, 2]]
    assert seeds.dtype == np.int32
    assert labels.dtype == np.uint32
    assert labels.ravel()[:43].tolist() == [2] * 30 + [1] * 12 + [0]


def test_ten_pixels_are_no_peak_and_eleven_are() -> None:
    assert len(group_endpoints(*ends_at((9, 9), {(4, 4): 10}))[1]) == 0
    assert len(group_endpoints(*ends_at((9, 9), {(4, 4): 11}))[1]) == 1


def test_a_peak_takes_pixels_that_end_up_to_five_steps_away_over_more_than_two_each() -> None:
    trail = {(8, 8): 20} | {(8, 8 + step): 3 for step in range(1, 7)}
    labels, _ = group_endpoints(*ends_at((20, 20), trail))
    assert np.count_nonzero(labels) == 20 + 5 * 3
    broken = trail | {(8, 10): 2}
    labels, _ = group_endpoints(*ends_at((20, 20), broken))
    assert np.count_nonzero(labels) == 20 + 3


def test_where_grown_peaks_meet_the_larger_wins() -> None:
    for left, right in ((30, 40), (40, 30)):
        counts = {(9, 5): left} | {(9, x): 5 for x in range(6, 12)} | {(9, 12): right}
        labels, seeds = group_endpoints(*ends_at((20, 20), counts))
        assert seeds.tolist() == [[9, 5], [9, 12]]
        assert np.bincount(labels.ravel())[1:].tolist() == ([65, 35] if left > right else [35, 65])


def test_a_peak_that_a_larger_one_covers_is_no_cell() -> None:
    counts = {(9, 5): 30} | {(9, x): 5 for x in range(6, 9)} | {(9, 9): 40}
    labels, seeds = group_endpoints(*ends_at((20, 20), counts))
    assert seeds.tolist() == [[9, 9]]
    assert np.count_nonzero(labels) == 85


def test_of_equal_peaks_the_first_in_y_x_order_wins() -> None:
    for places in (((6, 7), (7, 6)), ((7, 6), (6, 7))):
        labels, seeds = group_endpoints(*ends_at((14, 14), dict.fromkeys(places, 20)))
        assert seeds.tolist() == [[6, 7]]
        assert np.count_nonzero(labels == 1) == 40


def test_one_cell_may_fill_the_window() -> None:
    ends = np.full((2, 9, 9), 4, np.int32)
    assert (group_endpoints(ends, np.ones((9, 9), bool))[0] == 1).all()


def test_peaks_at_corners_are_found() -> None:
    ends, inside = ends_at((12, 12), {(0, 0): 11, (0, 11): 11, (11, 0): 11, (11, 11): 11})
    assert group_endpoints(ends, inside)[1].tolist() == [[0, 0], [0, 11], [11, 0], [11, 11]]


def test_an_empty_window_has_no_cells() -> None:
    for shape in ((0, 0), (0, 3), (3, 3)):
        labels, seeds = group_endpoints(np.zeros((2, *shape), np.int32), np.zeros(shape, bool))
        assert labels.shape == shape
        assert seeds.shape == (0, 2)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImageError, match=r"\(2, 3, 4\)"):
        group_endpoints(np.zeros((2, 3, 4), np.int32), np.ones((3, 3), bool))
    with pytest.raises(ImageError, match="9 pixels that end out"):
        group_endpoints(np.full((2, 3, 3), 3, np.int32), np.ones((3, 3), bool))
    with pytest.raises(ImageError, match="9 pixels that end out"):
        group_endpoints(np.full((2, 3, 3), -1, np.int32), np.ones((3, 3), bool))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.3, 4))
def test_groups_as_the_reference(seed: int, n_cells: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 45)
    inside = rng.random(shape) < 0.9
    centres = rng.uniform(0, 40, (n_cells, 2))[rng.integers(0, n_cells, inside.sum())]
    drawn = np.rint(centres + rng.normal(0, spread, centres.shape)).astype(np.int32)
    ends = np.zeros((2, *shape), np.int32)
    ends[:, inside] = np.clip(drawn, 0, [39, 44]).T
    counts = np.zeros(shape, int)
    np.add.at(counts, tuple(ends[:, inside]), 1)
    peaks = counts[(counts > 10) & (counts == maximum_filter(counts, 5))]
    # The reference leaves it to an unstable sort which of equal peaks wins.
    assume(len(np.unique(peaks)) == len(peaks))
    reference = dynamics.get_masks_torch(
        torch.from_numpy(ends[:, inside].copy()), np.nonzero(inside), shape, max_size_fraction=2
    )
    assert partition(group_endpoints(ends, inside)[0]) == partition(reference)


def test_a_field_is_grouped_as_the_reference_groups_it(crowded_field: Callable) -> None:
    field = crowded_field(100, 256, 14, noise=1.5, blur=1, seed=5)
    at = dynamics.follow_flows(field.flow * field.inside / 5, np.nonzero(field.inside), niter=200).int()
    ends = np.stack(np.mgrid[:256, :256]).astype(np.int32)
    ends[:, field.inside] = at.numpy()
    labels, _ = group_endpoints(ends, field.inside)
    reference = dynamics.get_masks_torch(at.clone(), np.nonzero(field.inside), (256, 256), max_size_fraction=2)
    ours, theirs = partition(labels), partition(reference)
    assert len(ours & theirs) >= 0.99 * len(theirs)
