"""Where the flow carries each pixel: `kernels.follow` in torch ops, with the same bits."""

import torch
from torch import Tensor

from cohortseg.arrays import Box
from cohortseg.kernels.follow import not_finite, reading_shifts, walk_length

# Pixels that walk at once: bounds the memory, of which a pixel takes about 200 bytes.
_AT_ONCE = 2**22


def follow_flow(flow: Tensor, at: Tensor, *, niter: int, image: Box | None) -> Tensor:
    """Return where pixels end, as flat indices.

    Every operation is one of `kernels.follow`, in its order and precision, and none is fused with another: the ends are
    those of that kernel to the last bit.

    Parameters
    ----------
    flow
        (2, y, x) float32 in (y, x) order, five times a unit step.
    at
        (n,) int64, rising: flat indices of the pixels of cells.
    niter, image
        As in `kernels.follow.follow_flow`.

    Returns
    -------
    Tensor
        (n,) int32: flat index of the pixel at which each pixel ends.

    Raises
    ------
    ImageError
        If the flow is not finite on one of the pixels, or the image does not hold the window.
    """
    height, width = flow.shape[1:]
    shape = (height, width)
    n_steps, doublings = walk_length(niter)
    shifts = torch.from_numpy(reading_shifts(shape, image)).to(flow.device)
    field = _framed_steps(flow, at)
    ends = torch.arange(height * width, dtype=torch.int32, device=flow.device)
    for some in torch.split(at, _AT_ONCE):
        ends[some] = _walk(field, some, n_steps, shifts, shape)
    for _ in range(doublings):
        ends = ends.index_select(0, ends)
    return ends[at]


def _framed_steps(flow: Tensor, at: Tensor) -> Tensor:
    """Return the steps, ((y + 2) (x + 2), 2), in a frame of zeros and 0 outside the cells."""
    height, width = flow.shape[1:]
    # Not a number but a tensor: by a number, torch multiplies with its inverse on a GPU, which rounds otherwise.
    five = torch.full((1,), 5.0, device=flow.device)
    steps = flow.reshape(2, -1)[:, at].T / five
    n_bad = int((~steps.isfinite()).sum())
    if n_bad:
        raise not_finite(n_bad)
    longest = float(max(height, width))
    framed = torch.zeros(((height + 2) * (width + 2), 2), device=flow.device)
    framed[(at // width + 1) * (width + 2) + at % width + 1] = steps.clamp_(-longest, longest)
    return framed


def _walk(field: Tensor, at: Tensor, n_steps: int, shifts: Tensor, shape: tuple[int, int]) -> Tensor:
    """Take exact steps from pixels; return the flat index of the pixel at each end."""
    height, width = shape
    last = torch.tensor([height - 1, width - 1], dtype=torch.int32, device=at.device)
    pixel = torch.stack([at // width, at % width], dim=1).int()
    fraction = torch.zeros(pixel.shape, device=at.device)
    for _ in range(n_steps):
        place, weight = _reading_place(pixel, fraction, shifts)
        step = _interpolate(field, place[:, 0] * (width + 2) + place[:, 1], width + 2, weight)
        pixel, fraction = _advance(pixel, fraction + step, last)
    end = pixel + (fraction >= 0.5)
    return end[:, 0] * width + end[:, 1]


def _reading_place(pixel: Tensor, fraction: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index in the framed field, and the weight of the next, for the places to read the flow at."""
    exact = fraction.double()
    read = exact + (shifts[:, 2] * (pixel + shifts[:, 1] + exact) - shifts[:, 0])
    whole = read.floor()
    return pixel + whole.int() + 1, (read - whole).float()


def _interpolate(field: Tensor, near: Tensor, row: int, weight: Tensor) -> Tensor:
    """Return the bilinear mean over two pixels from `near` and two from a row below."""
    wy, wx = weight[:, :1], weight[:, 1:]
    w11 = wy * wx
    w10 = wy - w11
    w01 = wx - w11
    w00 = 1 - wy - w01
    # The field is moved, not the places: a view costs nothing.
    mean = w00 * field.index_select(0, near)
    mean += w01 * field[1:].index_select(0, near)
    mean += w10 * field[row:].index_select(0, near)
    mean += w11 * field[row + 1 :].index_select(0, near)
    return mean


def _advance(pixel: Tensor, fraction: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Carry whole pixels from the fraction into the pixel, and stop at the first and last pixel."""
    whole = fraction.floor()
    pixel = pixel + whole.int()
    stopped = (pixel < 0) | (pixel >= last)
    return torch.minimum(pixel.clamp_(min=0), last), (fraction - whole).masked_fill_(stopped, 0)
