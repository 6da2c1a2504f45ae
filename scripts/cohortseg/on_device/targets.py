"""How far the flow lies from that of a cell's shape: `kernels.targets` and `kernels.clean.flow_errors` in torch ops."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cohortseg.on_device.atlas import Atlas, plan_atlas
from cohortseg.on_device.sums import count, sums

_PIXEL_BITS = 31


@dataclass(frozen=True)
class Cells:
    """The pixels of the cells of a window.

    Attributes
    ----------
    at
        (pixels,) int64, rising: flat indices.
    labels
        (pixels,) int64, from 0; each of the n labels has pixels.
    counts
        (n,) int64: how many.
    shape
        Height and width of the window.
    """

    at: Tensor
    labels: Tensor
    counts: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, at: Tensor, labels: Tensor, n_labels: int, shape: tuple[int, int]) -> "Cells":
        """Take the pixels of (pixels,) int32 labels that are not 0."""
        labelled = labels.nonzero().flatten()  # waits for the device, for their number
        dense = labels[labelled].long() - 1
        return cls(at[labelled], dense, count(dense, n_labels), shape)


def flow_errors(cells: Cells, flow: Tensor) -> Tensor:
    """Return the mean squared distance, (n,) float64, of a flow and that of each cell's shape.

    Parameters
    ----------
    flow
        (2, y, x) float32 as the network gives it, five times a unit step.
    """
    five = torch.full((1,), 5.0, device=flow.device)  # see `follow`
    apart = (flow.reshape(2, -1)[:, cells.at] / five - unit_flow(cells)).double()
    return sums(apart[0] * apart[0] + apart[1] * apart[1], cells.labels, cells.counts) / cells.counts


def unit_flow(cells: Cells) -> Tensor:
    """Return the unit flow of each pixel towards the centre of its cell, as `kernels.targets.flow_targets` does.

    On a CPU the same to the last bit: heat is summed along x and then along y as there.

    Returns
    -------
    Tensor
        (2, pixels) float32 in (y, x) order.
    """
    height, width = cells.shape
    warmth = torch.zeros((height + 2) * (width + 2), dtype=torch.float64, device=cells.at.device)
    framed = (cells.at // width + 1) * (width + 2) + cells.at % width + 1
    if len(cells.counts):
        warmth[framed] = _heat(cells)
    dy = warmth[framed + width + 2] - warmth[framed - width - 2]
    dx = warmth[framed + 1] - warmth[framed - 1]
    length = torch.sqrt(dy * dy + dx * dx)
    return torch.where(length > 1e-60, torch.stack([dy, dx]) / length, 0).float()


def _heat(cells: Cells) -> Tensor:
    """Return the heat of each pixel, (pixels,) float64, after each cell's own number of steps."""
    places = torch.stack([cells.at // cells.shape[1], cells.at % cells.shape[1]], dim=1)
    boxes = _boxes(places, cells)
    y0, x0, y1, x1 = boxes.cpu().numpy().T  # waits for the device
    atlas = plan_atlas(y1 - y0, x1 - x0)
    offsets = np.stack([atlas.tops - y0, atlas.lefts - x0], axis=1)
    moved = places + _uploaded(offsets, places)[cells.labels]
    at = moved[:, 0] * atlas.shape[1] + moved[:, 1]
    centres = _centre_pixels(places, cells)
    return _spread(atlas, at, at[centres][_uploaded(atlas.order, places)])[at]


def _uploaded(values: NDArray[np.int64], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device)


def _boxes(places: Tensor, cells: Cells) -> Tensor:
    """Return (n, 4) int64 half-open bounding boxes y0, x0, y1, x1."""
    n, by_label = len(cells.counts), cells.labels[:, None].expand(-1, 2)
    firsts = torch.full((n, 2), max(cells.shape), device=places.device).scatter_reduce_(0, by_label, places, "amin")
    lasts = torch.zeros((n, 2), dtype=torch.int64, device=places.device).scatter_reduce_(0, by_label, places, "amax")
    return torch.cat([firsts, lasts + 1], dim=1)


def _centre_pixels(places: Tensor, cells: Cells) -> Tensor:
    """Return which pixel is each cell's centre: that nearest to its rounded centre of mass, of equal ones the first."""
    totals = torch.zeros((len(cells.counts), 2), dtype=torch.int64, device=places.device)
    totals.index_add_(0, cells.labels, places)
    counts = cells.counts[:, None]
    means = (2 * totals + counts) // (2 * counts)
    distances = (places - means[cells.labels]).square().sum(dim=1)
    # Distance first, then the pixel's number, in one whole number.
    keys = (distances << _PIXEL_BITS) | torch.arange(len(places), device=places.device)
    best = torch.full_like(cells.counts, 2**63 - 1).scatter_reduce_(0, cells.labels, keys, "amin")
    return best & ((1 << _PIXEL_BITS) - 1)


def _spread(atlas: Atlas, at: Tensor, centres: Tensor) -> Tensor:
    """Feed and spread heat in all cells of an atlas; return it, flat.

    Those with more steps start earlier, so that all end together, and only the rows above the last that has started
    are worked on.

    Parameters
    ----------
    at
        Flat indices, in the atlas, of all pixels of cells.
    centres
        Those of the centres, in the atlas's order.
    """
    heat, share = (torch.zeros(atlas.shape, dtype=torch.float64, device=at.device) for _ in range(2))
    share.view(-1)[at] = 1 / 9
    ones = torch.ones(len(centres), dtype=torch.float64, device=at.device)
    for step in range(int(atlas.steps[0]), 0, -1):
        n_started = int(np.searchsorted(-atlas.steps, -step, side="right"))
        rows = heat[: atlas.bottoms[n_started - 1]]
        rows.view(-1).index_add_(0, centres[:n_started], ones[:n_started])  # no two cells share a centre
        sums_x = avg_pool2d(rows[None, None], (1, 3), 1, (0, 1), divisor_override=1)
        sums_xy = avg_pool2d(sums_x, (3, 1), 1, (1, 0), divisor_override=1)
        torch.mul(sums_xy[0, 0], share[: len(rows)], out=rows)
    return heat.view(-1)
