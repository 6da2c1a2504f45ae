"""Sums by label."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.on_device.sums import count, mean_probability, sums


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 300), st.sampled_from([1e-30, 1.0, 1e30]))
def test_sums_are_exact_and_do_not_depend_on_the_order(
    torch_device: str, seed: int, n_labels: int, n_px: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_labels), rng.integers(0, n_labels, n_px)])
    values = rng.exponential(size, len(labels)) ** 2 * (rng.random(len(labels)) < 0.8)

    def summed(order: np.ndarray) -> np.ndarray:
        on_device = torch.from_numpy(labels[order]).to(torch_device)
        counts = count(on_device, n_labels)
        assert np.array_equal(counts.cpu(), np.bincount(labels))
        return sums(torch.from_numpy(values[order]).to(torch_device), on_device, counts).cpu().numpy()

    found = summed(np.arange(len(labels)))
    assert np.array_equal(summed(rng.permutation(len(labels))), found)
    exact = [math.fsum(values[labels == label]) for label in range(n_labels)]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_the_mean_probability_does_not_depend_on_the_order(torch_device: str) -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 7, 5000), rng.normal(0, 5, 5000).astype(np.float32)
    logits[:2] = -200, 200
    orders = np.arange(5000), rng.permutation(5000)
    first, second = (
        mean_probability(*(torch.from_numpy(values[order]).to(torch_device) for values in (logits, labels)), 8).cpu()
        for order in orders
    )
    assert np.array_equal(first, second)
    expected = [np.mean(1 / (1 + np.exp(-logits[labels == label].astype(float)))) for label in range(7)]
    np.testing.assert_allclose(first, [*expected, 0], atol=1e-10)
