"""Pixels that end together get the label that the kernel gives them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.kernels.group import group_endpoints
from cohortseg.on_device.group import group_ends


def assert_same(device: str, ends: np.ndarray, inside: np.ndarray) -> int:
    """Compare labels and seeds with the kernel's; return how many cells there are."""
    labels, seeds = group_endpoints(ends, inside)
    flat = torch.from_numpy((ends[0] * inside.shape[1] + ends[1])[inside]).to(device)
    found, at = (values.cpu().numpy() for values in group_ends(flat, inside.shape))
    assert np.array_equal(found, labels[inside])
    assert np.array_equal(np.stack(np.divmod(at, inside.shape[1]), axis=1), seeds)
    return len(seeds)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 40), st.integers(1, 45)),
    st.integers(1, 25),
    st.floats(0.05, 4),
)
def test_random_ends_are_grouped_as_the_kernel_groups_them(
    torch_device: str, seed: int, shape: tuple[int, int], n_cells: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(shape) < 0.9
    centres = rng.uniform(0, shape, (n_cells, 2))[rng.integers(0, n_cells, inside.sum())]
    ends = np.zeros((2, *shape), np.int32)
    drawn = np.rint(centres + rng.normal(0, spread, centres.shape)).astype(np.int32)
    ends[:, inside] = np.clip(drawn, 0, np.subtract(shape, 1)).T
    assert_same(torch_device, ends, inside)


def test_of_equal_peaks_the_first_wins_and_covered_peaks_are_no_cells(torch_device: str) -> None:
    for counts in (
        {(6, 7): 20, (7, 6): 20},
        {(9, 5): 30} | {(9, x): 5 for x in range(6, 12)} | {(9, 12): 30},
        {(9, 5): 30} | {(9, x): 5 for x in range(6, 9)} | {(9, 9): 40},
        {(0, 0): 11, (0, 19): 11, (19, 0): 11, (19, 19): 10},
    ):
        targets = [place for place, count in counts.items() for _ in range(count)]
        ends = np.zeros((2, 400), np.int32)
        ends[:, : len(targets)] = np.array(targets).T
        inside = (np.arange(400) < len(targets)).reshape(20, 20)
        assert assert_same(torch_device, ends.reshape(2, 20, 20), inside) in (1, 2, 3)


def test_no_pixels_are_no_cells(torch_device: str) -> None:
    assert assert_same(torch_device, np.zeros((2, 3, 4), np.int32), np.zeros((3, 4), bool)) == 0
