"""Fields with known cells, for the kernels between a network and its labels."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree


class NoisyField(NamedTuple):
    truth: NDArray[np.uint32]
    flow: NDArray[np.float32]
    inside: NDArray[np.bool_]


def noisy_field(truth: NDArray[np.uint32], rng: np.random.Generator, *, noise: float, blur: float) -> NoisyField:
    """The flow a network would give of some cells: five times the unit flow, blurred, with noise."""
    dynamics = pytest.importorskip("cellpose.dynamics")
    flow = 5 * dynamics.masks_to_flows_gpu(truth.astype(np.int64))[0] + rng.normal(0, noise, (2, *truth.shape))
    if blur:
        flow = gaussian_filter(flow, (0, blur, blur))
    return NoisyField(truth, flow.astype(np.float32), truth > 0)


@pytest.fixture(scope="session")
def crowded_field() -> Callable[..., NoisyField]:
    """Discs of uneven size at random places, cut off half-way where they meet."""

    def make(n_cells: int, side: int, radius: float, *, noise: float, blur: float, seed: int) -> NoisyField:
        rng = np.random.default_rng(seed)
        centres = rng.uniform(0, side, (n_cells, 2))
        radii = rng.uniform(0.6, 1.4, n_cells) * radius
        pixels = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
        distance, nearest = cKDTree(centres).query(pixels)
        owner = np.where(distance < radii[nearest], nearest + 1, 0)
        truth = np.unique(owner, return_inverse=True)[1].reshape(side, side)
        return noisy_field(truth.astype(np.uint32), rng, noise=noise, blur=blur)

    return make


@pytest.fixture(scope="session")
def field_of_labels() -> Callable[..., NoisyField]:
    """The same of given labels, renumbered from 1."""

    def make(labels: NDArray[np.generic], *, noise: float, blur: float, seed: int) -> NoisyField:
        truth = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.uint32)
        return noisy_field(truth, np.random.default_rng(seed), noise=noise, blur=blur)

    return make
