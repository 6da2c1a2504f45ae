"""Sums by label that are the same in every run."""

import torch
from torch import Tensor

# Whole numbers below this, and sums of them, fit 64 bits with a sign.
_ROOM = 2.0**61
_PROBABILITY_BITS = 36


def count(labels: Tensor, n_labels: int) -> Tensor:
    """Return how many pixels each label has: (n,) int64 of (pixels,) int64 labels counted from 0."""
    return torch.zeros(n_labels, dtype=torch.int64, device=labels.device).index_add_(0, labels, torch.ones_like(labels))


def sums(values: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return the sum of each label's values, the same bits whatever the order in which a GPU adds them.

    A GPU adds in no fixed order, which floating-point sums show and sums of whole numbers do not. So the values are
    rounded to whole shares of their label's largest value, as fine as fit 64 bits: to 2^-61 of the largest value times
    the label's pixels.

    Parameters
    ----------
    values
        (pixels,) float64, 0 and above, finite.
    labels
        (pixels,) int64, from 0.
    counts
        (n,) int64: how many pixels each label has.
    """
    largest = torch.zeros(len(counts), dtype=torch.float64, device=values.device)
    largest.scatter_reduce_(0, labels, values, "amax")
    shares = torch.where(largest > 0, _ROOM / (largest * counts), 1)
    whole = (values * shares[labels]).round().long()
    return torch.zeros_like(counts).index_add_(0, labels, whole) / shares


def mean_probability(logits: Tensor, labels: Tensor, n_labels: int) -> Tensor:
    """Return the mean probability of each label, (n,) float64, exact to 2^-36 and the same in every run.

    Parameters
    ----------
    logits
        (pixels,) float32, before the sigmoid.
    labels
        (pixels,) int64, from 0.
    """
    probability = 1 / (1 + torch.exp(-logits.double()))
    whole = (probability * 2**_PROBABILITY_BITS).round().long()
    totals = torch.zeros(n_labels, dtype=torch.int64, device=logits.device).index_add_(0, labels, whole)
    return totals / 2.0**_PROBABILITY_BITS / count(labels, n_labels).clamp(min=1)
