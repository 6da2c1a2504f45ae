"""The flow of a cell's shape, and how far another lies from it, are the kernels'."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.kernels import clean
from cohortseg.kernels.targets import flow_targets
from cohortseg.on_device.targets import Cells, flow_errors, unit_flow


def cells_of(labels: np.ndarray, device: str) -> Cells:
    at = torch.arange(labels.size, device=device)
    flat = torch.from_numpy(labels.astype(np.int32)).to(device).flatten()
    return Cells.of(at, flat, int(labels.max(initial=0)), labels.shape)


def dense(labels: np.ndarray) -> np.ndarray:
    """Number labels from 1 without gaps."""
    return np.searchsorted(np.unique(labels[labels > 0]), labels, side="right").astype(np.uint32) * (labels > 0)


label_images = hnp.arrays(
    np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 4)
).map(lambda labels: dense(labels).astype(np.uint32))


def assert_same_flow(labels: np.ndarray, device: str) -> None:
    found = unit_flow(cells_of(labels, device)).cpu().numpy()
    expected = flow_targets(labels)[:, labels > 0]
    if device == "cpu":
        assert np.array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)


@given(label_images)
def test_any_labels_have_the_flow_that_the_kernel_gives_them(torch_device: str, labels: np.ndarray) -> None:
    assert_same_flow(labels, torch_device)


def test_cells_of_many_sizes_have_the_flow_that_the_kernel_gives_them(torch_device: str) -> None:
    y, x = np.indices((150, 190))
    labels = (1 + y // 11 + 100 * (x // 9)) * ((y % 11 < 9) | (x % 9 < 4))
    labels[40:110, 20:150] = 5000
    labels[3, :] = 6000
    labels[(y - 75) ** 2 + (x - 80) ** 2 < 20**2] = 0
    labels[:, 185] = 7000
    assert_same_flow(dense(labels), torch_device)


@given(label_images, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1e4]))
def test_flow_errors_are_the_kernels(torch_device: str, labels: np.ndarray, seed: int, size: float) -> None:
    flow = np.random.default_rng(seed).normal(0, size, (2, *labels.shape)).astype(np.float32)
    expected = clean.flow_errors(labels, flow, flow_targets(labels))[1:]
    found = flow_errors(cells_of(labels, torch_device), torch.from_numpy(flow).to(torch_device))
    np.testing.assert_allclose(found.cpu(), expected, rtol=1e-5, atol=1e-9)


def test_an_outlier_spoils_the_error_of_its_own_cell_alone(torch_device: str) -> None:
    labels = np.repeat(np.uint32([[1, 2]]), 20, axis=1)
    flow = np.zeros((2, 1, 40), np.float32)
    flow[0, 0, 3] = 1e18
    errors = flow_errors(cells_of(labels, torch_device), torch.from_numpy(flow).to(torch_device)).cpu()
    assert errors[0] == pytest.approx((2e17) ** 2 / 20)
    assert errors[1] == pytest.approx(clean.flow_errors(labels, flow, flow_targets(labels))[2])
