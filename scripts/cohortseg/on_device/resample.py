"""Fields at another scale: `kernels.resample` in torch ops, with the same bits."""

import torch
from torch import Tensor

from cohortseg.arrays import Box
from cohortseg.kernels.resample import Taps, source_box, weigh


def resample(
    source: Tensor, held: Box, source_shape: tuple[int, int], target: Box, target_shape: tuple[int, int]
) -> Tensor:
    """Return one box of a field at another scale; see `kernels.resample.resample`.

    Parameters
    ----------
    source
        (channel, y, x) float32: the pixels of `held`, at least what `source_box` returns for the target.
    """
    needed = source_box(target, target_shape, source_shape)
    pixels = source[:, *needed.shifted(-held.y0, -held.x0).slices]
    rows = weigh(target.y0, target.y1, target_shape[0], source_shape[0])
    columns = weigh(target.x0, target.x1, target_shape[1], source_shape[1])
    return _filtered(_filtered(pixels, rows, needed.y0, 1), columns, needed.x0, 2)


def _filtered(pixels: Tensor, taps: Taps, first: int, dim: int) -> Tensor:
    """Filter along one axis; sums run in the order of the source pixels, and taps that a pixel has not add nothing."""
    weights = torch.from_numpy(taps.weights).to(pixels.device)
    places = torch.from_numpy(taps.firsts - first).to(pixels.device)
    across = (slice(None), None) if dim == 1 else (slice(None),)
    shape = (*pixels.shape[:dim], len(places), *pixels.shape[dim + 1 :])
    filtered = torch.zeros(shape, device=pixels.device)
    for tap in range(int(taps.counts.max(initial=0))):
        # Beyond its last tap a pixel's weight is 0, and any source pixel will do.
        near = (places + tap).clamp_(max=pixels.shape[dim] - 1)
        filtered += weights[:, tap][across] * pixels.index_select(dim, near)
    return filtered
