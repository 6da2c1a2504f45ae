"""Pixels end where the kernel has them end, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.kernels.follow import follow_flow as reference
from cohortseg.on_device import follow
from cohortseg.on_device.follow import follow_flow


def ends_on(device: str, flow: np.ndarray, inside: np.ndarray, niter: int, image: Box | None) -> np.ndarray:
    """Return the ends of all pixels as the kernel gives them."""
    at = torch.from_numpy(np.flatnonzero(inside)).to(device)
    ends = np.arange(inside.size)
    ends[inside.ravel()] = follow_flow(torch.from_numpy(flow).to(device), at, niter=niter, image=image).cpu().numpy()
    return np.stack(np.divmod(ends, inside.shape[1])).reshape(2, *inside.shape)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.3, 5.0, 1e6]),
    st.booleans(),
)
def test_random_flows_lead_where_the_kernel_leads(
    torch_device: str, seed: int, shape: tuple[int, int], niter: int, size: float, in_image: bool
) -> None:
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, size, (2, *shape)).astype(np.float32)
    inside = rng.random(shape) < rng.random()
    y0, x0 = rng.integers(0, 40, 2)
    image = Box(-y0, -x0, shape[0] + int(rng.integers(0, 40)), shape[1] + int(rng.integers(0, 40)))
    image = image if in_image else None
    expected = reference(flow, inside, niter=niter, image=image)
    assert np.array_equal(ends_on(torch_device, flow, inside, niter, image), expected)


def test_walking_in_turns_changes_nothing(torch_device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heights = gaussian_filter(np.random.default_rng(3).normal(size=(128, 100)), 5)
    flow = (3e3 * np.stack(np.gradient(heights))).astype(np.float32)
    monkeypatch.setattr(follow, "_AT_ONCE", 999)
    expected = reference(flow, heights > 0, niter=200, image=Box(0, 0, 128, 100))
    assert np.array_equal(ends_on(torch_device, flow, heights > 0, 200, Box(0, 0, 128, 100)), expected)


def test_a_flow_that_is_not_finite_on_a_cell_is_refused(torch_device: str) -> None:
    flow, inside = np.zeros((2, 4, 5), np.float32), np.zeros((4, 5), bool)
    flow[:, 1, 1], flow[1, 3, 3] = np.nan, np.inf
    inside[3, 3] = True
    with pytest.raises(ImageError, match="not finite on 1 pixels"):
        ends_on(torch_device, flow, inside, 20, None)
    inside[3, 3] = False
    ends_on(torch_device, flow, inside, 20, None)
