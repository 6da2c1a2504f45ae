"""Flows point to each cell's centre, as Cellpose's do, and depend on that cell alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cohortseg.kernels.targets import flow_targets

dynamics = pytest.importorskip("cellpose.dynamics")


def ellipses(seed: int) -> NDArray[np.uint32]:
    """Return 16 isolated ellipses of many sizes and directions."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:200, :200]
    labels = np.zeros((200, 200), np.uint32)
    for i, (row, column) in enumerate(np.ndindex(4, 4), start=1):
        y, x = yy - 50 * row - 25, xx - 50 * column - 25
        angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(4, 20, 2)
        along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
        labels[(along / a) ** 2 + (across / b) ** 2 < 1] = i
    return labels


def crowd(seed: int) -> NDArray[np.uint32]:
    """Return the cells that are nearest to each of 60 random points: a tissue without gaps."""
    places = np.random.default_rng(seed).permutation(120 * 120)[:60]
    points = np.stack(np.divmod(places, 120), axis=-1)
    grid = np.stack(np.mgrid[:120, :120], axis=-1)
    distances = np.linalg.norm(grid[:, :, None] - points, axis=-1)
    return (1 + distances.argmin(axis=-1)).astype(np.uint32)


@pytest.mark.parametrize("seed", range(3))
def test_isolated_cells_have_the_flows_of_cellpose(seed: int) -> None:
    labels = ellipses(seed)
    ours, theirs = flow_targets(labels), dynamics.masks_to_flows_gpu(labels.astype(np.int64))[0]
    inside = labels > 0
    cosine = (ours * theirs).sum(axis=0)[inside]
    assert cosine.mean() > 0.99
    assert np.quantile(cosine, 0.05) > 0.99


@given(hnp.arrays(np.uint32, (12, 14), elements=st.sampled_from([0, 1, 2, 4_000_000_000])))
def test_flows_are_unit_vectors_inside_and_nothing_outside(labels: NDArray[np.uint32]) -> None:
    flow = flow_targets(labels)
    assert (flow.shape, flow.dtype) == ((2, 12, 14), np.float32)
    length = np.hypot(*flow)
    assert not length[labels == 0].any()
    assert (np.isclose(length, 1, atol=1e-5) | (length == 0)).all()


@given(hnp.arrays(np.uint32, (10, 11), elements=st.integers(0, 3)))
def test_a_flow_depends_on_cells_that_touch_and_not_on_their_numbers(labels: NDArray[np.uint32]) -> None:
    numbers = np.array([0, 900, 7, 4_000_000_000], np.uint32)
    assert np.array_equal(flow_targets(labels), flow_targets(numbers[labels]))
    apart = np.zeros((25, 11), np.uint32)
    apart[:10], apart[15:] = labels, labels + np.uint32(3) * (labels > 0)
    assert np.array_equal(flow_targets(apart)[:, :10], flow_targets(labels))
    assert np.array_equal(flow_targets(apart)[:, 15:], flow_targets(labels))


@pytest.mark.parametrize("seed", range(3))
def test_touching_cells_have_the_flows_of_cellpose(seed: int) -> None:
    labels = crowd(seed)
    ours, theirs = flow_targets(labels), dynamics.masks_to_flows_gpu(labels.astype(np.int64))[0]
    assert (ours * theirs).sum(axis=0)[labels > 0].mean() > 0.995


def test_moving_a_cell_moves_its_flow() -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[3:12, 5:19] = 1
    moved = np.roll(labels, (17, 11), axis=(0, 1))
    assert np.array_equal(np.roll(flow_targets(labels), (17, 11), axis=(1, 2)), flow_targets(moved))


def test_the_flow_of_a_disc_points_to_its_centre() -> None:
    yy, xx = np.mgrid[:31, :31] - 15.0
    labels = (yy**2 + xx**2 < 13**2).astype(np.uint32)
    distance = np.hypot(yy, xx)
    away = (labels > 0) & (distance > 2)
    towards = -(flow_targets(labels)[0] * yy + flow_targets(labels)[1] * xx)[away] / distance[away]
    assert towards.min() > 0.97


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (4, 4)])
def test_images_without_cells_have_no_flow(shape: tuple[int, int]) -> None:
    flow = flow_targets(np.zeros(shape, np.uint32))
    assert flow.shape == (2, *shape)
    assert not flow.any()


def test_a_cell_that_fills_the_image_has_a_flow() -> None:
    flow = flow_targets(np.full((9, 9), 5, np.uint32))
    assert np.hypot(*flow)[0, 0] == pytest.approx(1)
    assert (flow[0, :4] >= 0).all()
    assert (flow[0, 5:] <= 0).all()
