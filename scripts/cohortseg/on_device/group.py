"""Pixels that end together are one cell: `kernels.group` in torch ops, with the same labels."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from cohortseg.kernels.group import GROWTH_COUNT, GROWTH_STEPS, PEAK_COUNT, PEAK_REACH


def group_ends(ends: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Group pixels by where they end, as `kernels.group.group_endpoints` does.

    The growth of a peak asks nothing of other peaks, and the best of those that reach a pixel takes it. So all grow at
    once: each pixel takes the best rank around it, five times. Sums and maxima are of whole numbers: their order, which
    is not the same in every run on a GPU, does not show.

    Parameters
    ----------
    ends
        (n,) int32: flat index of the pixel at which each pixel of the cells ends.
    shape
        Height and width of the window.

    Returns
    -------
    labels, seeds
        (n,) int32, from 1 in the (y, x) order of the peaks, 0 for pixels of no cell; and the peaks, (k,) int64 flat
        indices, label i in row i - 1.
    """
    height, width = shape
    counts = torch.zeros(height * width, dtype=torch.int32, device=ends.device)
    counts.index_add_(0, ends, torch.ones_like(ends))
    around = _largest_near(counts.reshape(shape), PEAK_REACH).flatten()
    seeds = ((counts > PEAK_COUNT) & (counts == around)).nonzero().flatten()  # waits for the device, for their number
    # The most ends win, then the first in (y, x) order: ranks from n down to 1.
    best_first = torch.sort(counts[seeds], descending=True, stable=True).indices
    ranks = torch.empty(len(seeds), dtype=torch.int32, device=ends.device)
    ranks[best_first] = torch.arange(len(seeds), 0, -1, dtype=torch.int32, device=ends.device)
    taken = torch.zeros_like(counts)
    taken[seeds] = ranks
    growable = (counts > GROWTH_COUNT).reshape(shape)
    for _ in range(GROWTH_STEPS):
        taken = (_largest_near(taken.reshape(shape), 1) * growable).flatten()
    return _numbered(taken, ranks, seeds, ends)


def _numbered(taken: Tensor, ranks: Tensor, seeds: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the labels of pixels, numbered over the peaks that some pixel ends in, and those peaks."""
    has_pixels = torch.zeros(len(seeds) + 1, dtype=torch.bool, device=ends.device)
    has_pixels[taken] = True
    kept = has_pixels[ranks]
    numbers = torch.zeros(len(seeds) + 1, dtype=torch.int32, device=ends.device)
    numbers[ranks] = (kept.cumsum(0) * kept).int()
    return numbers[taken.index_select(0, ends)], seeds[kept]  # waits for the device, for their number


def _largest_near(values: Tensor, reach: int) -> Tensor:
    """Return the largest of the (2 reach + 1)² values, 0 and above, around each pixel."""
    for sides in ((0, 0, reach, reach), (reach, reach)):
        padded = pad(values, sides)
        dim, length = (0, values.shape[0]) if len(sides) == 4 else (1, values.shape[1])
        values = padded.narrow(dim, 0, length)
        for offset in range(1, 2 * reach + 1):
            values = torch.maximum(values, padded.narrow(dim, offset, length))
    return values
